"""The whole OpenAPI document, asked everything that it allows and much that it does not."""

import os
import subprocess
import sys

import pytest

from tests.api_server import command, made_world, serving
from tests.terminal import ROOT
from tests.worlds import MORNING

# A stream of events never ends, and is tried by tests of its own.
WITHOUT = "/v1/stream"

N_EXAMPLES = "25"


@pytest.fixture(scope="module")
def town(tmp_path_factory, postgres_server):
    """A world with a run."""
    world = made_world(tmp_path_factory.mktemp("town"), postgres_server)
    world.put_market(AAA=0.3)
    world.run(MORNING)
    return world


def _known(api, town):
    """What is stored, so that the questions of what is there are asked too."""
    alert = api.get("/v1/alerts").json()["items"][0]["id"]
    incident = town.query("select id from incidents limit 1")["id"].iloc[0]
    names = {"alert_id": alert, "incident_id": incident, "symbol": "AAA"}
    return "[parameters]\n" + "".join(f'{name} = "{value}"\n' for name, value in names.items())


def test_no_fault_and_no_break_of_the_schema_is_found(town):
    """Schemathesis finds no 5xx, no undocumented status, no body that is not as it is said."""
    scopes = [part for scope in ("read", "write", "score") for part in ("--scope", scope)]
    key = command(town, "keys", "make", "everything", *scopes)
    with serving(town, key=key, api_requests_per_minute=1e6) as api:
        (town.folder / "schemathesis.toml").write_text(_known(api, town))
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "run", f"{api.url}/openapi.json"),
                *("--header", f"Authorization: Bearer {key}"),
                *("--exclude-path", WITHOUT, "--max-examples", N_EXAMPLES),
                *("--generation-deterministic", "--no-color", "--request-timeout", "60"),
                *("--mode", "all", "--suppress-health-check", "all"),
            ],
            cwd=town.folder,
            env={k: v for k, v in os.environ.items() if not k.startswith("TREMOR_")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        assert "Traceback" not in api.said
    assert str(ROOT) not in done.stdout
