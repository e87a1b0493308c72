"""The local cloud of compose.yaml: valid, closed, and in accord with the program that it starts.

No engine runs here: the file is checked against the schema of Compose, and what it promises to
our containers is read by the program itself.
"""

import copy
import re
import stat
import subprocess
import sys
from pathlib import Path

import boto3
import pytest

from components.channels.email import server_of
from components.settings import Settings
from tests.manifests import ROOT, SECRETS, SERVED, SETTINGS, commands, compose

SERVICES = compose()["services"]
IMAGES = ("tremor:local", "tremor-served:local")
OURS = {name for name, service in SERVICES.items() if service["image"] in IMAGES}
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(?:(:-|:\?)([^}]*))?\}")


def filled(text, given):
    """A text with its variables replaced, as Compose does it."""

    def replace(found):
        name, kind, rest = found.groups()
        if given.get(name):
            return given[name]
        assert kind == ":-", f"{name} is needed"
        return rest

    return VARIABLE.sub(replace, str(text)).replace("$$", "$")


def faults(name, service):
    """What is open, unhealthy or of no fixed version in a service: one line each."""
    image = filled(service["image"], {})
    if not re.search(r":(?!latest$)[\w.-]+$", image):
        yield "image of no fixed version"
    if any(not str(port).startswith("127.0.0.1:") for port in service.get("ports", ())):
        yield "port open to others"
    if "no-new-privileges:true" not in service.get("security_opt", ()):
        yield "may gain rights"
    if service.get("privileged") or service.get("network_mode") == "host":
        yield "shares the host"
    yield from _told(service.get("environment", {}))
    if name in OURS:
        yield from _faults_of_ours(service)


def _told(environment):
    """The variables whose password stands in the file itself."""
    for variable, value in environment.items():
        is_secret = variable in SECRETS or "PASSWORD" in variable or variable == "REDISCLI_AUTH"
        # An address that may hold a password holds none; a password comes from outside.
        is_address = "://" in value and not re.search(r"://[^/]*:[^/]*@", value)
        if is_secret and not (is_address or re.match(r"\$\{\w+_PASSWORD:\?", value)):
            yield f"{variable} in plain"


def _faults_of_ours(service):
    if service.get("read_only") is not True or service.get("cap_drop") != ["ALL"]:
        yield "not closed"
    if not (service.get("mem_limit") and service.get("pids_limit")):
        yield "not bounded"
    places = {each.split(":")[0] for each in service["tmpfs"]}
    places |= {each.split(":")[1] for each in service["volumes"]}
    if places != {"/tmp", "/var/lib/tremor"}:
        yield "the writable places are not the image's"


def test_the_file_is_valid_by_the_schema_of_compose():
    """No engine runs here, so the schema stands for its parser."""
    check = [Path(sys.executable).with_name("check-jsonschema")]
    schema = ["--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run(
        [*check, *schema, ROOT / "compose.yaml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_a_misspelt_property_is_refused(tmp_path):
    """The check above can fail."""
    path = tmp_path / "compose.yaml"
    path.write_text((ROOT / "compose.yaml").read_text().replace("healthcheck:", "healthchek:"))
    check = [Path(sys.executable).with_name("check-jsonschema")]
    done = subprocess.run(
        [*check, "--builtin-schema", "vendor.compose-spec", path], capture_output=True, check=False
    )
    assert done.returncode


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_closed_and_of_a_fixed_version(name):
    """Loopback alone, no new rights, no password in the file; ours read-only and bounded."""
    assert list(faults(name, SERVICES[name])) == []


MUTATIONS = {
    "image of no fixed version": lambda s: s.update(image="tremor:latest"),
    "port open to others": lambda s: s.update(ports=["5432:5432"]),
    "may gain rights": lambda s: s.pop("security_opt"),
    "shares the host": lambda s: s.update(privileged=True),
    "AWS_SECRET_ACCESS_KEY in plain": lambda s: s["environment"].update(
        AWS_SECRET_ACCESS_KEY="minioadmin"
    ),
    "TREMOR_WAREHOUSE_URL in plain": lambda s: s["environment"].update(
        TREMOR_WAREHOUSE_URL="postgresql://tremor:tremor@warehouse/tremor"
    ),
    "not closed": lambda s: s.pop("read_only"),
    "not bounded": lambda s: s.pop("mem_limit"),
    "the writable places are not the image's": lambda s: s.update(volumes=["state:/app"]),
}


@pytest.mark.parametrize("fault", MUTATIONS)
def test_each_rule_catches_what_breaks_it(fault):
    """A rule that finds nothing would hold nothing."""
    service = copy.deepcopy(SERVICES["tremor"])
    MUTATIONS[fault](service)
    assert fault in list(faults("tremor", service))


def test_what_is_waited_for_says_when_it_is_ready():
    """A healthy condition on a service without a health check would wait for ever."""
    for service in SERVICES.values():
        for target, condition in service.get("depends_on", {}).items():
            if condition["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[target]
            else:
                assert condition["condition"] == "service_completed_successfully"
                assert SERVICES[target]["restart"] == "no"
            # Compose refuses to start a service without those of another profile.
            own, theirs = (set(s.get("profiles", ())) for s in (service, SERVICES[target]))
            assert not theirs or (own and own <= theirs)


# What each server says of its own health, and where it keeps what it is given.
HEALTH = {
    "warehouse": ["CMD", "pg_isready", "--host=127.0.0.1", "--username=tremor", "--dbname=tremor"],
    "lake": ["CMD", "mc", "ready", "local"],
    "mail": ["CMD", "/mailpit", "readyz"],
}
FOLDERS = {"warehouse": "/var/lib/postgresql/data", "lake": "/data"}
READY = {
    "warehouse": "service_healthy",
    "bucket": "service_completed_successfully",
    "mail": "service_healthy",
}
MAKE_BUCKET = """\
mc alias set lake {endpoint} {user} "$$LAKE_PASSWORD"
mc mb --ignore-existing lake/{bucket}
mc version enable lake/{bucket}
"""

PASSWORDS = (
    ("tremor", "AWS_SECRET_ACCESS_KEY"),
    ("lake", "MINIO_ROOT_PASSWORD"),
    ("bucket", "LAKE_PASSWORD"),
)


def loose_ends(services):
    """What one service needs of another and does not get: one line each."""
    for name in OURS:
        waits = {k: v["condition"] for k, v in services[name].get("depends_on", {}).items()}
        if not READY.items() <= waits.items():
            yield f"{name} does not wait for its servers"
        if services[name]["tmpfs"] != ["/tmp:mode=1777,size=512m"]:
            yield f"{name} has no room to work in"
    for name, test in HEALTH.items():
        if services[name].get("healthcheck", {}).get("test") != test:
            yield f"{name} does not say whether it is ready"
    for name, folder in FOLDERS.items():
        if services[name].get("volumes") != [f"{name}:{folder}"]:
            yield f"what {name} keeps is lost"
    yield from _loose_ends_of_lake(services)


def _loose_ends_of_lake(services):
    given = services["tremor"]["environment"]
    # Without --address MinIO listens on port 9000.
    if services["lake"]["command"] != ["server", FOLDERS["lake"], "--console-address", ":9001"]:
        yield "the lake listens or keeps elsewhere"
    if given["AWS_ENDPOINT_URL"] != "http://lake:9000":
        yield "the lake is asked elsewhere"
    bucket = services["bucket"]
    script = MAKE_BUCKET.format(
        endpoint=given["AWS_ENDPOINT_URL"],
        user=services["lake"]["environment"]["MINIO_ROOT_USER"],
        bucket=given["TREMOR_LAKE_URL"].split("/")[2],
    )
    if (bucket["entrypoint"], bucket["command"]) != (["sh", "-ec"], [script]):
        yield "the bucket is not made"
    if bucket["depends_on"] != {"lake": {"condition": "service_healthy"}}:
        yield "the bucket does not wait for the lake"
    if len({services[name]["environment"][key] for name, key in PASSWORDS}) != 1:
        yield "the lake has another password"


def test_each_service_gets_what_it_needs_of_the_others():
    """Waited for, ready by its own word, kept in a volume, asked where it listens."""
    assert list(loose_ends(SERVICES)) == []


def _swap(service, place, old, new):
    """Replace a word in the text, or in the first one, of a service's property."""

    def change(services):
        (found,) = [i for i, word in enumerate(services[service][place]) if old in word]
        services[service][place][found] = services[service][place][found].replace(old, new)

    return change


def _set(service, **changed):
    return lambda services: services[service].update(changed)


LOOSE_ENDS = [
    ("tremor does not wait for its servers", lambda s: s["tremor"]["depends_on"].pop("warehouse")),
    ("tremor does not wait for its servers", lambda s: s["tremor"]["depends_on"].pop("bucket")),
    ("tremor does not wait for its servers", lambda s: s["tremor"]["depends_on"].pop("mail")),
    (
        "tremor does not wait for its servers",
        lambda s: s["tremor"]["depends_on"]["warehouse"].update(condition="service_started"),
    ),
    ("api does not wait for its servers", lambda s: s["api"]["depends_on"].pop("warehouse")),
    ("tremor has no room to work in", _set("tremor", tmpfs=["/tmp:mode=0700,size=1k"])),
    ("tremor has no room to work in", _set("tremor", tmpfs=["/tmp"])),
    *(
        (f"{name} does not say whether it is ready", _set(name, healthcheck={"test": test}))
        for name in HEALTH
        for test in (["CMD", "false"], ["CMD", "true"])
    ),
    ("what warehouse keeps is lost", _swap("warehouse", "volumes", "/data", "/other")),
    ("what lake keeps is lost", _swap("lake", "volumes", "/data", "/other")),
    (
        "the lake listens or keeps elsewhere",
        lambda s: s["lake"]["command"].extend(["--address", ":9999"]),
    ),
    ("the lake listens or keeps elsewhere", _swap("lake", "command", "/data", "/other")),
    (
        "the lake is asked elsewhere",
        lambda s: s["tremor"]["environment"].update(AWS_ENDPOINT_URL="http://lake:9999"),
    ),
    ("the bucket is not made", _swap("bucket", "command", "mc mb", "true")),
    ("the bucket is not made", _swap("bucket", "command", "existing lake/tremor", "lake/other")),
    (
        "the bucket is not made",
        lambda s: s["tremor"]["environment"].update(TREMOR_LAKE_URL="s3://other/lake"),
    ),
    ("the bucket is not made", _set("bucket", entrypoint=["sh", "-n"])),
    ("the bucket does not wait for the lake", lambda s: s["bucket"]["depends_on"].clear()),
    (
        "the lake has another password",
        lambda s: s["lake"]["environment"].update(MINIO_ROOT_PASSWORD="${CACHE_PASSWORD:?}"),
    ),
]


@pytest.mark.parametrize(("fault", "change"), LOOSE_ENDS)
def test_each_loose_end_is_found(fault, change):
    """Each was once broken on purpose, and is valid by the schema."""
    # Anew: aliases of the file share one object, and a change would reach all of them.
    services = {name: copy.deepcopy(service) for name, service in SERVICES.items()}
    change(services)
    assert fault in list(loose_ends(services))


def test_every_volume_is_named_and_used():
    """Data survives `docker compose down`, and nothing is declared for nobody."""
    used = {
        each.split(":")[0] for service in SERVICES.values() for each in service.get("volumes", ())
    }
    assert used == set(compose()["volumes"])


def test_every_container_of_ours_runs_a_command_that_exists_in_an_image_that_holds_it():
    """What serves is of the image with its packages, and everything else of the small one."""
    known = commands()
    for name in OURS:
        service = SERVICES[name]
        assert "entrypoint" not in service, "the image's entry point is kept"
        command = service["command"][0]
        assert command in known
        is_served = command in SERVED
        assert service["image"] == IMAGES[is_served]
        assert (service["profiles"] == ["served"]) == is_served
        asked = service["build"]["args"].get("REQUIREMENTS", "requirements.txt")
        assert asked == ("requirements-served.txt" if is_served else "requirements.txt")
        assert (ROOT / asked).exists()
        assert ("--address" in service["command"]) == is_served
    assert {SERVICES[name]["command"][0] for name in OURS} == SERVED | {"run", "stream"}


def test_the_server_of_models_is_of_our_version_and_answers_to_its_name():
    """MLflow refuses a server much older or newer, and requests under a name it was not told."""
    server = SERVICES["mlflow"]
    lock = (ROOT / "requirements-models.txt").read_text()
    (version,) = re.findall(r"^mlflow==([\d.]+)", lock, re.MULTILINE)
    assert f"mlflow=={version} " in server["build"]["dockerfile_inline"]
    (hosts,) = [o for o in server["command"] if o.startswith("--allowed-hosts=")]
    port = server["ports"][0].rpartition(":")[2]
    assert f"mlflow:{port}" in hosts.partition("=")[2].split(",")


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """The passwords as the script makes them."""
    folder = tmp_path_factory.mktemp("local")
    script = folder / "passwords.sh"
    script.write_text((ROOT / "deploy" / "local" / "passwords.sh").read_text())
    subprocess.run(["sh", script], check=True, capture_output=True)
    made = folder / ".env"
    first = made.read_text()
    subprocess.run(["sh", script], check=True, capture_output=True)
    assert made.read_text() == first, "a second call keeps them"
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    return dict(line.split("=", 1) for line in first.split())


def test_the_passwords_are_all_that_is_needed_and_each_is_its_own(given):
    """Random ones of this machine; without them the file says what to run."""
    needed = {
        found[0]
        for found in VARIABLE.findall((ROOT / "compose.yaml").read_text())
        if found[1] != ":-"
    }
    assert set(given) == needed
    assert len(set(given.values())) == len(given)
    assert all(re.fullmatch("[0-9a-f]{32}", value) for value in given.values())
    assert "deploy/local/.env" in subprocess.run(
        ["git", "check-ignore", "deploy/local/.env"], cwd=ROOT, capture_output=True, text=True,
        check=True,
    ).stdout  # fmt: skip


def test_the_program_reads_the_environment_that_it_is_given(given, monkeypatch, tmp_path):
    """Settings that exist, addresses of services that are there, on the ports they listen on."""
    environment = {k: filled(v, given) for k, v in SERVICES["tremor"]["environment"].items()}
    assert {name for name in environment if name.startswith("TREMOR_")} <= SETTINGS
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    settings = Settings()
    assert settings.lake_url == "s3://tremor/lake"
    assert settings.warehouse_password.get_secret_value() == given["WAREHOUSE_PASSWORD"]
    mail = server_of(settings.smtp_url.get_secret_value())
    assert (mail.host, mail.port, mail.needs_starttls) == ("mail", 1025, False)
    assert mail.host in SERVICES
    warehouse = SERVICES["warehouse"]
    user = warehouse["environment"]["POSTGRES_USER"]
    database = warehouse["environment"]["POSTGRES_DB"]
    address = f"postgresql://{user}@warehouse:5432/{database}?sslmode=disable"
    assert settings.warehouse_url.get_secret_value() == address
    assert warehouse["environment"]["POSTGRES_PASSWORD"].startswith("${WAREHOUSE_PASSWORD:?")


def test_the_stream_asks_broker_and_cache_where_they_listen(given, monkeypatch, tmp_path):
    """Inside the broker's own network by its own name, with the cache's password."""
    environment = SERVICES["stream"]["environment"]
    assert SERVICES["tremor"]["environment"].keys() <= environment.keys()
    for name, value in environment.items():
        monkeypatch.setenv(name, filled(value, given))
    monkeypatch.chdir(tmp_path)
    settings = Settings()
    assert (settings.source, settings.interval) == ("binance", "1m")
    advertised = SERVICES["broker"]["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(",")
    assert f"INSIDE://{settings.kafka_servers}" in advertised
    asked = "localhost:" + settings.kafka_servers.rpartition(":")[2]
    assert asked in SERVICES["broker"]["healthcheck"]["test"]
    cache = filled(SERVICES["cache"]["environment"]["REDISCLI_AUTH"], given)
    assert settings.redis_url.get_secret_value() == f"redis://:{cache}@cache:6379/0"
    assert SERVICES["stream"]["depends_on"].keys() >= {"broker", "cache", "warehouse"}


def test_the_lake_is_asked_by_path_on_the_servers_own_port(given, monkeypatch):
    """MinIO answers to its own name alone: a bucket in the host's name would not be found."""
    for name in SERVICES["tremor"]["environment"]:
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, filled(SERVICES["tremor"]["environment"][name], given))
    asked = boto3.client("s3").generate_presigned_url(
        "get_object", Params={"Bucket": "tremor", "Key": "lake/x"}
    )
    assert asked.startswith("http://lake:9000/tremor/lake/x?")
    lake = SERVICES["lake"]["environment"]
    assert lake["MINIO_ROOT_USER"] == SERVICES["tremor"]["environment"]["AWS_ACCESS_KEY_ID"]
