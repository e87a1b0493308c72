"""No secret in the repository, and none in anything that a run leaves or says."""

import re
import secrets
import subprocess

import pytest
from detect_secrets import SecretsCollection
from detect_secrets.settings import default_settings

from components.embedded import server_programs
from tests.secrets_of import SECRET, secrets_in
from tests.terminal import ROOT, environment, hurry, tremor
from tests.test_channels import Inbox, mail_server

# Pictures and tables hold no words, and a lock file's hashes look like keys.
UNREAD = (".png", ".csv", "package-lock.json")

MADE_HERE = {".venv", "var", ".git", ".hypothesis", "__pycache__", ".mypy_cache", ".ruff_cache"}

# What an address is shown with where nobody's is meant, and two words of CloudFormation's.
SHOWN = {"password", "pw", "a", "b", "password}}", "GetSecretValue"}

# The words that tests throw away: so short, or naming themselves, that none is anybody's.
THROWN_AWAY = re.compile(
    r"(?i:(?=.{0,24}$).*(s3cret|secret|t0ken|passw|p%40ss|p@ss|testing|wrong|word|flatflat|canary).*)"
    r"|minioadmin|sesame-42|postgres|.{1,6}|\W*|line.*break"
)


def tracked():
    """What belongs to the project: all that git knows, or all but what was made here."""
    git = ["git", "ls-files"]
    listed = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=False)
    names = listed.stdout.splitlines() or [
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*")
        if path.is_file() and not MADE_HERE & set(path.relative_to(ROOT).parts)
    ]
    assert len(names) > 200
    return [n for n in names if not n.endswith(UNREAD) and not n.startswith("requirements")]


def found_in(paths):
    with default_settings():
        seen = SecretsCollection()
        for path in paths:
            seen.scan_file(str(path))
    return [(path, each.type, each.line_number, each.secret_value) for path, each in seen]


def test_the_repository_holds_no_secret():
    """Each hit of the scanner is a placeholder, or a word that a test throws away."""
    strange = []
    for path, kind, line, value in found_in(ROOT / name for name in tracked()):
        is_of_tests = "/tests/" in path
        if value not in SHOWN and not (is_of_tests and THROWN_AWAY.fullmatch(value or "")):
            strange.append((path, kind, line))
    assert strange == []


@pytest.mark.parametrize(
    "line",
    [
        "aws_access_key_id = 'AKIA{}'",
        "-----BEGIN RSA {} KEY-----",
        "TREMOR_WAREHOUSE_URL=postgresql://tremor:{}@db.example.com/tremor",
        'password = "{}"',
    ],
)
def test_a_secret_in_a_file_would_be_found(line, tmp_path):
    """The scan is no formality."""
    text = {"AKIA": "IOSFODNN7EXAMPLQ", "-----": "PRIVATE"}.get(
        next((k for k in ("AKIA", "-----") if k in line), ""), secrets.token_hex(16)
    )
    path = tmp_path / "settings.py"
    path.write_text(line.format(text) + "\n")
    hits = found_in([path])
    assert hits
    assert all(
        v not in SHOWN and not THROWN_AWAY.fullmatch(v or "") for *_, v in hits if v != "PRIVATE"
    )


def left(world):
    """The bytes of all that lies in a world's folder, and of its database."""
    dumped = subprocess.run(
        [server_programs() / "pg_dump", "--no-owner", world.postgres_url],
        capture_output=True,
        check=True,
    )
    files = [p for p in world.folder.rglob("*") if p.is_file()]
    return {**{str(p): p.read_bytes() for p in files}, "warehouse": dumped.stdout}


def with_a_secret_everywhere(world, mail, hook):
    token = {name: secrets.token_hex(12) for name in SECRET}
    return {
        **token,
        "smtp_url": f"smtp://analyst:{token['smtp_url']}@{mail}",
        "webhook_url": f"http://{hook}/{token['webhook_url']}",
        "heartbeat_url": f"http://{hook}/{token['heartbeat_url']}",
        "sql_url": f"postgresql://reader:{token['sql_url']}@127.0.0.1:1/shop",
        "warehouse_url": world.postgres_url,
        # The tests' server asks nobody for a password; the setting is tried by itself.
        "warehouse_password": "",
    }


QUERY = "select 'a' as series, now() as ts, 1 as value where now() between :since and :until"


@pytest.mark.parametrize("trouble", ["none", "everything down"])
def test_nothing_that_a_run_leaves_or_says_holds_a_secret(trouble, world, postgres_server):
    """Raw replies, manifests, reports, mails, logs, errors, the warehouse: all are read."""
    hurry(postgres_server)
    world.put_market(AAA=0.2)
    (world.folder / "query.sql").write_text(QUERY)
    is_down = trouble != "none"
    with mail_server(Inbox()) as mail:
        given = with_a_secret_everywhere(world, "127.0.0.1:1" if is_down else mail, "127.0.0.1:1")
        commands = [
            (("run", "--as-of", "2024-03-13T12:00"), {}),
            (("run",), {"source": "polygon", "polygon_url": "http://127.0.0.1:1"}),
            (("run",), {"source": "sql", "measures_query": world.folder / "query.sql"}),
            (("doctor",), {}),
            (("doctor",), {"warehouse_url": "postgresql://u:{}@127.0.0.1:1/db"}),
            (("doctor",), {"warehouse_url": "http://u:{}@127.0.0.1:1/db"}),
            (("status", "--json"), {}),
        ]
        said, texts = [], set()
        for arguments, changed in commands:
            more = {k: str(v).format(given["polygon_api_key"]) for k, v in changed.items()}
            settings = {**given, **more, "timeout_s": 2}
            seen = tremor(world, *arguments, **settings)
            said += [seen.out, seen.err]
            texts |= secrets_in(environment(world, **settings))
    (world.folder / "query.sql").unlink()
    assert len(texts) >= 6 * 2
    everything = left(world) | {f"said {k}": text.encode() for k, text in enumerate(said)}
    assert len(everything) > 20
    shown = [
        (name, text) for name, body in everything.items() for text in texts if text.encode() in body
    ]
    assert shown == []


def test_the_password_of_the_warehouse_may_come_alone(world, postgres_server):
    """It is put into the address for the connection, and shown nowhere."""
    password = secrets.token_hex(12) + "@/:%"
    alone = {"warehouse_url": "postgresql://u@127.0.0.1:1/db", "warehouse_password": password}
    seen = tremor(world, "status", **alone)
    assert "u@127.0.0.1:1/db" in seen.error
    assert password not in seen.out + seen.err
    asked = {**alone, "warehouse_url": "postgresql://u@127.0.0.1:1/db?application_name=me@host"}
    assert "Connection refused" in tremor(world, "status", **asked).error
    for bad in (
        "postgresql://127.0.0.1/db",
        "postgresql://u:other@127.0.0.1/db",
        "postgresql://127.0.0.1/db?options=a:other@b",
    ):
        error = tremor(world, "status", **{**alone, "warehouse_url": bad}).error
        assert "TREMOR_WAREHOUSE_PASSWORD needs" in error
        assert "other" not in error
