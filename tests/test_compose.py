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
from tests.manifests import ANNOUNCED, ROOT, SECRETS, SETTINGS, commands, compose

SERVICES = compose()["services"]
OURS = {name for name, service in SERVICES.items() if service["image"] == "tremor:local"}
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
            theirs = set(SERVICES[target].get("profiles", ()))
            assert theirs <= set(service.get("profiles", ()))


def test_every_volume_is_named_and_used():
    """Data survives `docker compose down`, and nothing is declared for nobody."""
    used = {
        each.split(":")[0] for service in SERVICES.values() for each in service.get("volumes", ())
    }
    assert used == set(compose()["volumes"])


def test_every_container_of_ours_runs_a_command_that_exists_or_is_announced():
    """And what is announced stands apart: built, its service must leave that corner."""
    known = commands()
    assert not ANNOUNCED & known, "built: take its service out of the profile"
    for name in OURS:
        service = SERVICES[name]
        assert "entrypoint" not in service, "the image's entry point is kept"
        is_announced = service["profiles"] == ["announced"]
        assert service["command"][0] in (ANNOUNCED if is_announced else known)
    assert {SERVICES[name]["command"][0] for name in OURS} == ANNOUNCED | {"run"}


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
    assert "lake/tremor" in SERVICES["bucket"]["command"][0]
