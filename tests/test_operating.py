"""What docs/OPERATING.md promises of backups and logs, done as it says."""

import json
import os
import re
import shlex
import shutil
import subprocess

import pytest

from components.embedded import server_programs
from components.settings import Settings
from components.tables import LABELS, TABLES
from tests.binance_stand_in import BinanceStandIn, minutes
from tests.minute_worlds import of_binance
from tests.terminal import ROOT, hurry, run_sql, tremor
from tests.worlds import DAY, MORNING, history

TEXT = (ROOT / "docs" / "OPERATING.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)
SHELL = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
(DUMP,) = [line for line in SHELL if line.startswith("pg_dump")]
(RESTORE,) = [line for line in SHELL if "pg_restore" in line]

# The programs that come with the tests' server.
RUN = ("run", "--as-of", "2024-03-13T12:00")

BIN = server_programs()


def do(line, world):
    """Run a line of the page as it stands."""
    environment = {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "TREMOR_WAREHOUSE_URL": world.postgres_url,
    }
    done = subprocess.run(
        ["/bin/sh", "-c", line],
        cwd=world.folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def town(world, postgres_server):
    """A market that was run, with an alert that a person acknowledged; minutes beside it."""
    hurry(postgres_server)
    world.put_market(AAA=0.2)
    assert world.run().exit_code == 0
    alert_id = world.alerts("anomaly")["id"].iloc[0]
    assert tremor(world, "alerts", "acknowledge", alert_id, "--note", "seen").code == 0
    by_the_day = dict(world.settings)
    with BinanceStandIn({"CCCUSDT": minutes("2024-02-28", 3 * 1440)}) as server:
        of_binance(world, server, ["CCCUSDT"])
        span = ("--since", "2024-02-28", "--until", "2024-03-02")
        assert tremor(world, "backfill", *span).code == 0
    world.settings = by_the_day
    return world


def held(world):
    """All rows of all tables."""
    found = {table.name: world.rows(table).to_csv() for table in TABLES}
    return found | {
        name: world.query(f"select * from {name} order by 1, 2, 3").to_csv()
        for name in ("candles_intraday", "candles_hourly", "candles_daily")
    }


def test_a_dump_brings_all_of_it_back_into_an_empty_database(town, make_postgres_url):
    """Every row of every table; what was told is not told again, and the next day is judged."""
    before, told = held(town), len(town.messages())
    do(DUMP, town)
    town.postgres_url = make_postgres_url()
    do(RESTORE, town)
    assert held(town) == before
    assert town.run().exit_code == 0
    assert len(town.messages()) == told
    for symbol in ("AAA", "BBB", "CCC", "DDD-USD"):
        last = MORNING.floor("D")
        town.put(symbol, history(symbol, last, 401), last + 1.5 * DAY)
    summary = town.run(MORNING + DAY)
    assert (summary.exit_code, summary.counts["bars_judged"] >= 4) == (0, True)


def test_a_dump_replaces_what_went_wrong_since(town):
    """What was spoilt after it is as it was; what is not the program's own is not touched."""
    before = held(town)
    do(DUMP, town)
    run_sql(
        town.postgres_url,
        "truncate tremor.alerts, tremor.deliveries, tremor.labels",
        "update tremor.candles set close = 1",
        "create table public.others (one int)",
    )
    assert held(town) != before
    do(RESTORE, town)
    assert held(town) == before
    assert town.query("select count(*) as n from public.others")["n"].item() == 0


def test_a_copy_of_the_lake_alone_brings_back_all_but_what_people_said(town, make_postgres_url):
    """A machine is lost with its warehouse and its lake; a copy of the lake is there."""
    before, told = held(town), len(town.messages())
    lake = town.folder / "var" / "lake"
    shutil.copytree(lake, town.folder / "copy")
    shutil.rmtree(lake)
    shutil.move(town.folder / "copy", lake)
    town.postgres_url = make_postgres_url()
    assert tremor(town, "replay").code == 0
    assert town.run().exit_code == 0
    assert len(town.messages()) == told
    after = held(town)
    assert town.rows(LABELS).empty
    for name in ("candles", "verdicts", "channels", "market", "alerts", "incidents"):
        assert after[name] == before[name], name


def test_a_copy_of_everything_embedded_goes_on_where_it_is_put(world):
    """With its own server: the same rows, and nothing is told again."""
    world.put_market(AAA=0.2)
    assert tremor(world, *RUN, warehouse_url=None).code == 0
    told = len(world.messages())
    elsewhere = world.folder / "elsewhere"
    subprocess.run(["cp", "-a", str(world.folder / "var"), str(elsewhere)], check=True)
    there = {"warehouse_url": None, "state_dir": elsewhere}
    before = tremor(world, "status", "--json", warehouse_url=None).out
    after = tremor(world, "status", "--json", **there).out
    assert json.loads(before)["freshness"] == json.loads(after)["freshness"] != []
    assert tremor(world, *RUN, **there).code == 0
    assert len(list((elsewhere / "outbox").glob("*.eml"))) == told == 1


def test_the_log_looks_as_the_page_shows(town):
    """The same keys for the same events."""
    shown = [
        json.loads(line) for kind, text in BLOCKS if kind == "json" for line in text.splitlines()
    ]
    seen = tremor(town, "run", "--as-of", "2024-03-13T12:00")
    logged = [json.loads(line) for line in seen.err.splitlines()]
    for line in shown:
        (same, *_) = [each for each in logged if each.get("event") == line["event"]]
        assert set(same) == set(line)


def test_every_command_and_setting_of_the_page_exists(town):
    """Nothing is promised that is not there."""
    commands = [line for line in SHELL if line.startswith("python main.py")]
    assert {shlex.split(line)[2] for line in commands} == {"doctor", "replay"}
    names = set(re.findall(r"TREMOR_([A-Z_]+)", TEXT))
    assert names <= {name.upper() for name in Settings.model_fields}
