"""The daily run under Prefect: the same run, kept by its inputs, repeated with patience."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import time
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pandas as pd
import pytest
import requests

from components import tables
from components.settings import Settings
from components.steps.runner import Runner
from components.warehouse import Warehouse
from components.wiring import registry_of
from tests.flow_server import GUARD
from tests.proxies import free_port
from tests.terminal import ROOT, environment, run_sql, tremor
from tests.trained_worlds import fill
from tests.worlds import LAST, MORNING, World
from tests.yahoo_stand_in import SERVER_ERROR, YahooStandIn, chart, rows

# One server for all of them, so one process of the tests.

PYTHON = ROOT / ".venv/flows/bin/python"

AS_OF = "2024-03-13T12:00"

CANARY = "canary-5d1c"


@dataclass
class Town:
    """A served Prefect, and a process that runs flows against it."""

    folder: Path
    world: World
    api: str
    driver: subprocess.Popen
    environment: dict

    def flow(self, world, breaks="", settings=None, flow="watch", **parameters):
        """Run the flow over a world; parameters are the flow's own."""
        job = {
            "folder": str(world.folder),
            "environment": tremor_only(environment(world, **(settings or {}))),
            "parameters": parameters,
            "breaks": breaks,
            "flow": flow,
        }
        self.driver.stdin.write(json.dumps(job) + "\n")
        self.driver.stdin.flush()
        line = self.driver.stdout.readline()
        assert line, self.log("driver")
        return json.loads(line)

    def log(self, name):
        """What a process has written so far."""
        return (self.folder / f"{name}.log").read_text()

    def ask(self, path, **body):
        """Ask Prefect's own API; while its database is busy it answers 503, to be asked again."""
        for _ in range(100):
            reply = requests.post(f"{self.api}/{path}", json=body, timeout=30)
            if reply.status_code != requests.codes.unavailable:
                break
            time.sleep(0.3)
        reply.raise_for_status()
        return reply.json()

    def tasks(self, flow_run, n_done=0):
        """The task runs of a flow run in the order in which they began; they are noted late."""
        for _ in range(100):
            found = self.ask(
                "task_runs/filter",
                flow_runs={"id": {"any_": [flow_run]}},
                sort="EXPECTED_START_TIME_ASC",
            )
            if len(found) >= n_done and all(each["end_time"] for each in found):
                break
            time.sleep(0.1)
        return sorted(found, key=lambda each: each["start_time"])


def tremor_only(variables):
    return {k: v for k, v in variables.items() if k.startswith("TREMOR_")}


_numbers = count()


def build_world(folder, postgres_server, **crashes):
    """A world outside of any one test."""
    name = f"flows_{os.getpid()}_{next(_numbers)}"
    run_sql(postgres_server, f'create database "{name}"')
    folder.mkdir(exist_ok=True)
    world = World(folder, postgres_server.replace("/postgres?", f"/{name}?"))
    world.put_market(**crashes)
    return world


@pytest.fixture(scope="module")
def town(tmp_path_factory, postgres_server):
    """``python -m components.entrypoints.flows serve``, whose children may not leave loopback."""
    assert PYTHON.exists(), "run `make .venv/flows/.made`"
    folder = tmp_path_factory.mktemp("flows")
    (folder / "guard").mkdir()
    (folder / "guard/sitecustomize.py").write_text(GUARD)
    world = build_world(folder / "served", postgres_server, crash=0.2)
    port = free_port()
    variables = {
        **environment(world),
        "PYTHONPATH": f"{folder / 'guard'}:{ROOT}",
        "TESTS_CONNECTIONS": str(folder / "connections"),
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
    }
    api = f"http://127.0.0.1:{port}/api"
    with (folder / "served.log").open("w") as served, (folder / "driver.log").open("w") as driven:
        serving = subprocess.Popen(
            [PYTHON, "-m", "components.entrypoints.flows", "serve"],
            cwd=world.folder,
            env=variables,
            stdout=served,
            stderr=served,
        )
        try:
            wait_for(lambda: answers(f"{api}/health") or serving.poll() is not None)
            assert serving.poll() is None, (folder / "served.log").read_text()
            driver = subprocess.Popen(
                [PYTHON, "-m", "tests.flow_server"],
                cwd=world.folder,
                env={**variables, "PREFECT_API_URL": api},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=driven,
                text=True,
            )
            yield Town(folder, world, api, driver, variables)
            driver.communicate()
        finally:
            serving.terminate()
            serving.wait(timeout=60)


def answers(url):
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


def wait_for(is_so, timeout_s=120):
    for _ in range(timeout_s * 5):
        if is_so():
            return
        time.sleep(0.2)
    raise AssertionError(f"not so within {timeout_s} s")


@pytest.fixture
def place(tmp_path, postgres_server):
    """A world with a crash in it."""
    return build_world(tmp_path / "place", postgres_server, crash=0.2)


class Noting(Runner):
    """Remembers the steps in the order in which they were called."""

    def __init__(self):
        super().__init__()
        self.called = []

    def __call__(self, step, parts, *args):
        """Note the step, and call it."""
        self.called.append(step.__name__)
        return super().__call__(step, parts, *args)


def test_without_a_server_it_starts_its_own_and_does_what_the_command_does(
    town, tmp_path, postgres_server
):
    """The same tables, message and exit code as ``main.py run``, on Prefect's ephemeral server."""
    folder = tmp_path / "twin"
    first = build_world(folder, postgres_server, crash=0.2)
    usual = tremor(first, "run", "--as-of", AS_OF)
    by_command = [m["Message-ID"] for m in first.messages()]
    shutil.rmtree(folder / "var")
    second = build_world(folder, postgres_server, crash=0.2)
    # A server's first start makes its tables, which takes ten seconds.
    (folder / "var/prefect").mkdir(parents=True)
    with (
        closing(sqlite3.connect(home(town) / "prefect.db")) as made,
        closing(sqlite3.connect(folder / "var/prefect/prefect.db")) as copied,
    ):
        made.backup(copied)
    done = once(town, second, "--as-of", AS_OF)
    assert (usual.code, done.returncode) == (0, 0), done.stderr
    assert "Starting temporary server on http://127.0.0.1" in done.stderr
    for table in tables.TABLES:
        left, right = (each.rows(table).to_csv() for each in (first, second))
        assert left == right, table.name
    assert len(first.alerts()) == 1
    assert [m["Message-ID"] for m in second.messages()] == by_command
    assert len(by_command) == 1


def once(town, world, *arguments, api=""):
    """``python -m components.entrypoints.flows once`` in the world's folder."""
    own = {k: v for k, v in town.environment.items() if not k.startswith(("TREMOR_", "PREFECT_"))}
    if api:
        own["PREFECT_API_URL"] = api
    return subprocess.run(
        [PYTHON, "-m", "components.entrypoints.flows", "once", *arguments],
        check=False,
        cwd=world.folder,
        env={**own, **tremor_only(environment(world))},
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_the_tasks_are_the_steps_in_the_order_of_main(town, place, world):
    """Prefect's own record of a run has exactly the steps that ``main.daily`` calls."""
    noting = Noting()
    world.put_market(crash=0.2)
    world.run(MORNING, noting)
    state = town.flow(place, as_of=AS_OF)
    assert state["name"] == "Completed", state
    tasks = town.tasks(state["id"], len(noting.called) + 1)
    assert [each["name"].split()[0] for each in tasks] == ["run", *noting.called]
    assert len(noting.called) >= 13
    assert {each["state_name"] for each in tasks} == {"Completed"}
    assert {each["name"].split()[1] for each in tasks[1:]} == {"run-20240313T120000Z"}


def test_the_same_inputs_are_answered_from_what_was_kept(town, place):
    """Nothing is fetched, judged or told again; another instant or another file is other inputs."""
    first = town.flow(place, as_of=AS_OF)
    before, n_told = ran(place), len(place.messages())
    again = town.flow(place, as_of=AS_OF)
    assert (again["name"], again["said"]) == ("Completed", first["said"])
    assert ran(place) == before
    assert len(place.messages()) == n_told == 1
    assert [(t["state_name"]) for t in town.tasks(again["id"], 1)] == ["Cached"]

    later = town.flow(place, as_of="2024-03-13T13:00")
    assert "run-20240313T130000Z" in later["said"]
    place.put("EEE", place_rows(place))
    grown = town.flow(place, as_of=AS_OF)
    assert "symbols 5" in grown["said"]
    assert len(town.tasks(grown["id"], 14)) > 13
    assert len(place.messages()) == n_told


def place_rows(place):
    from tests.worlds import history

    return history("EEE", LAST)


def ran(place):
    """When each run ended: a run that did anything notes it."""
    return place.query("select id, finished_at from runs order by id").to_csv()


def test_a_source_that_is_away_for_a_while_is_asked_again(town, place):
    """The source's own tries are used up; the task waits and asks again, and nobody is told."""
    good = chart("ACME", rows("2023-03-06", [10 + i % 3 for i in range(250)]))
    with YahooStandIn({"ACME": [SERVER_ERROR] * 2 + [good]}) as server:
        away = {"source": "yahoo", "yahoo_url": server.url, "yahoo_requests_per_second": 1000}
        state = town.flow(place, settings=away, as_of="2024-02-20", symbols="ACME")
        n_asked = len(server.requests)
    assert state["name"] == "Completed", state
    assert n_asked == 3
    fetches = [t for t in town.tasks(state["id"], 14) if t["name"].startswith("fetch")]
    assert [(t["run_count"], t["state_name"]) for t in fetches] == [(2, "Completed")]


def test_a_source_that_stays_away_leaves_a_run_done_in_part(town, place):
    """The rest is judged; the state has its own name, and is not kept: it is tried again."""
    for _ in range(2):
        state = town.flow(place, as_of=AS_OF, symbols="AAA,NOPE")
        assert (state["type"], state["name"]) == ("COMPLETED", "DoneInPart")
        assert "NOPE: " in state["said"]
        assert len(town.tasks(state["id"], 14)) >= 13
    assert tremor(place, "run", "--as-of", AS_OF, "--symbols", "AAA,NOPE").code == 3


def test_what_the_user_can_mend_is_one_line(town, place):
    """The state has the error's name, the exit code is 2, and no traceback is shown."""
    before = len(town.log("driver"))
    state = town.flow(place, settings={"interval": "7x"})
    assert (state["type"], state["name"]) == ("FAILED", "SettingsError")
    assert state["said"].startswith("error: TREMOR_INTERVAL: ")
    state = town.flow(place, as_of=AS_OF, symbols="../etc")
    assert (state["type"], state["name"]) == ("FAILED", "InvalidSymbol")
    future = town.flow(place, as_of="2999-01-01")
    assert future["name"] == "SettingsError"
    assert "Traceback" not in town.log("driver")[before:]


def test_the_exit_code_of_a_settings_error_is_two(town, place):
    """As ``main.py`` says it, on stderr, beside Prefect's own lines."""
    done = once(town, place, "--as-of", "yesterday-ish", api=town.api)
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert errors == [
        "error: as_of 'yesterday-ish' is no past instant. Write it as 2024-03-12T12:00."
    ]
    assert "Traceback" not in done.stderr


def test_a_run_steps_aside_for_another(town, place):
    """It ends as skipped, not as failed, and the next call does the work."""
    with Warehouse(place.postgres_url) as warehouse:
        warehouse.migrate()
        with warehouse.run_lock():
            state = town.flow(place, as_of=AS_OF)
    assert (state["type"], state["name"]) == ("COMPLETED", "Skipped")
    assert "another run is at work" in state["said"]
    assert town.flow(place, as_of=AS_OF)["name"] == "Completed"


def test_a_bug_keeps_its_traceback(town, place):
    """It is no state of ours, and the log says where it happened."""
    before = len(town.log("driver"))
    state = town.flow(place, breaks="judge", as_of=AS_OF)
    assert (state["type"], state["name"]) == ("FAILED", "Failed")
    assert "a bug of the tests" in state["said"]
    assert "Traceback" in town.log("driver")[before:]
    failed = [
        t["name"].split()[0] for t in town.tasks(state["id"], 8) if t["state_name"] == "Failed"
    ]
    assert failed == ["run", "judge"]


def secrets(world):
    """A value for every secret setting, each with a canary in it."""
    given = {
        "smtp_url": f"smtp://user:{CANARY}-smtp@127.0.0.1:1",
        "webhook_url": f"http://127.0.0.1:1/{CANARY}-webhook",
        "heartbeat_url": f"http://127.0.0.1:1/{CANARY}-heartbeat",
        "warehouse_url": world.postgres_url,
        "sql_url": f"mysql://user:{CANARY}-sql@127.0.0.1:1/db",
    }
    names = [n for n, f in Settings.model_fields.items() if "SecretStr" in str(f.annotation)]
    return {name: given.get(name, f"{CANARY}-{name}") for name in names}


def test_no_secret_reaches_prefect(town, place):
    """Not its database, not what it keeps of results, not its log, not the states."""
    told = town.flow(place, settings=secrets(place), as_of=AS_OF)
    assert told["name"] == "DoneInPart", told
    dead = f"postgresql://user:{CANARY}-dead@127.0.0.1:1/db"
    elsewhere = {**secrets(place), "warehouse_url": dead, "warehouse_password": None}
    lost = town.flow(place, settings=elsewhere, as_of=AS_OF)
    assert lost["name"] == "WarehouseError", lost
    assert [t["run_count"] for t in town.tasks(lost["id"], 1)] == [3]
    time.sleep(3)  # the log is sent in batches
    found = {
        path: path.read_bytes()
        for folder in (home(town), *town.folder.glob("*.log"))
        for path in ([folder] if folder.is_file() else folder.rglob("*"))
        if path.is_file()
    }
    assert any(b"run-20240313T120000Z" in body for body in found.values())
    assert any("storage" in str(path) for path in found)
    assert [str(path) for path, body in found.items() if CANARY.encode() in body] == []
    assert CANARY not in json.dumps([told, lost])


def home(town):
    return town.world.folder / "var/prefect"


def test_the_schedules_are_those_of_the_deployment_and_one_fires(town):
    """06:30 and 12:30 UTC; minutes and training paused; a run of the server really runs."""
    wait_for(lambda: len(town.ask("deployments/filter")) == 3)
    served = {each["name"]: each for each in town.ask("deployments/filter")}
    crons = {
        name: sorted((s["schedule"]["cron"], s["schedule"]["timezone"]) for s in each["schedules"])
        for name, each in served.items()
    }
    assert crons == {
        "daily": [("30 12 * * *", "UTC"), ("30 6 * * *", "UTC")],
        "minutes": [("*/5 * * * *", "UTC")],
        "weekly": [("30 3 * * 0", "UTC")],
    }
    assert {name: each["paused"] for name, each in served.items()} == {
        "daily": False,
        "minutes": True,
        "weekly": True,
    }
    assert served["minutes"]["parameters"] == {"interval": "1m"}
    # A server that cannot plan has nothing to start at 06:30.
    of_day = {"deployments": {"id": {"any_": [served["daily"]["id"]]}}}
    wait_for(lambda: len(town.ask("flow_runs/filter", **of_day)) > 3)
    planned = [
        pd.Timestamp(r["expected_start_time"]) for r in town.ask("flow_runs/filter", **of_day)
    ]
    assert {f"{each:%H:%M}" for each in planned} == {"06:30", "12:30"}
    assert all(each > pd.Timestamp.now("UTC") for each in planned)

    path = f"deployments/{served['daily']['id']}/create_flow_run"
    made = town.ask(path, parameters={"as_of": AS_OF}, state={"type": "SCHEDULED"})
    url = f"{town.api}/flow_runs/{made['id']}"
    ended = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
    wait_for(lambda: requests.get(url, timeout=30).json()["state_type"] in ended)
    state = requests.get(url, timeout=30).json()["state"]
    assert state["name"] == "Completed", (state, town.log("served")[-3000:])
    assert len(town.world.alerts()) == 1


def test_training_anew_promotes_who_earned_it_and_names_who_could_not(town, postgres_server):
    """In the environment that holds MLflow; the next time the champion's own kind is trained."""
    folder = town.folder / "trained"
    world = build_world(folder, postgres_server)
    shutil.rmtree(world.files)
    fill(world)
    assert tremor(world, "run", "--as-of", AS_OF).code == 0
    state = town.flow(world, flow="retrain", detectors="gmm, market", promote=True)
    assert state["name"] == "DoneInPart", state
    assert re.search(
        r"gmm version 1 finds \d\d\.\d%; is the champion now; market: no ", state["said"]
    )
    tasks = {task["name"].partition("-")[0] for task in town.tasks(state["id"], n_done=2)}
    assert tasks == {"train gmm", "train market"}
    kept = registry_of(world.read_settings())
    assert kept.load("champion").name == "gmm@1"

    state = town.flow(world, flow="retrain")
    assert state["name"] == "Completed", state
    assert re.search(r"gmm version 2 finds .*promote", state["said"])
    assert kept.load("champion").name == "gmm@1"
    assert kept.load("challenger").name == "gmm@2"


def test_training_without_candles_is_one_line_on_the_page(town, postgres_server):
    """What the command would say, and no traceback."""
    world = build_world(town.folder / "empty", postgres_server)
    state = town.flow(world, flow="retrain")
    assert (state["type"], state["name"]) == ("FAILED", "ModelError")
    assert state["said"].startswith("error: gmm: train: the warehouse holds no 1d candles.")
    assert len(state["said"].splitlines()) == 1


def test_its_list_differs_from_the_image_in_named_packages_alone():
    """What judges under Prefect is what judges in the image, to the version."""

    def pins(name):
        found = re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / name).read_text(), re.MULTILINE)
        return set(found)

    others = pins("requirements.txt") - pins("requirements-flows.txt")
    # No run imports FastAPI: MLflow's small package brings it along, and Prefect is served by it.
    assert {name for name, _ in others} == {"fastapi", "sqlalchemy", "websockets"}


def test_every_source_opens_beside_prefect():
    """Massive's client pins a newer websockets than Prefect bears; ours needs none."""
    code = (
        "from components.settings import Settings; from components.sources import *\n"
        "s = Settings(_env_file=None, polygon_api_key='k', files_root='.')\n"
        "print(*[open_source(n, **s.fields()).name for n in ('polygon', 'yahoo', 'binance')])"
    )
    done = subprocess.run(
        [PYTHON, "-c", code], check=False, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["polygon", "yahoo", "binance"], done.stderr


def test_nothing_left_this_machine(town):
    """The server, the served runs and the flows connect on loopback alone."""
    trying = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)"
    seen = {**town.environment, "TESTS_CONNECTIONS": str(town.folder / "tried")}
    subprocess.run([PYTHON, "-c", trying], check=False, env=seen, capture_output=True, timeout=60)
    assert "OUTSIDE 192.0.2.1" in (town.folder / "tried").read_text()
    lines = (town.folder / "connections").read_text().splitlines()
    assert [line for line in lines if "OUTSIDE" in line] == []
    assert {"__main__.py inside", "flow_server.py inside", "flows.py inside"} <= set(lines)
