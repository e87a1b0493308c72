"""The command line as its help tells it: commands, examples, exit codes, JSON."""

import json
import re
import shlex

import pandas as pd
import pytest
import typer.main

from components.entrypoints.cli import app
from components.entrypoints.instants import fresh_instant
from components.wiring import open_parts
from tests.terminal import hurry, tremor
from tests.worlds import DAY, MORNING, World, history

AS_OF = f"{MORNING:%Y-%m-%dT%H:%M}"
RUN = ("run", "--as-of", AS_OF)


def commands(group, path=()):
    """Every command below a group, with its path of names."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


# What click calls a value that stands on the command line.
TYPED = "COMMANDLINE"

COMMANDS = dict(commands(typer.main.get_command(app)))


@pytest.fixture(scope="module", autouse=True)
def quick_server(postgres_server):
    """The server need not wait for its disk."""
    hurry(postgres_server)


@pytest.fixture
def town(world):
    """Two instruments, one of which fell by a fifth."""
    for symbol, crash in (("AAA", 0.2), ("BBB", 0)):
        world.put(symbol, history(symbol, n_bars=400, crash=crash))
    return world


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example_that_can_be_typed(name, tmp_path):
    """The example names this command, and only options and arguments that it has."""
    seen = tremor(World(tmp_path, ""), *name.split(), "--help")
    assert seen.code == 0
    assert seen.err == ""
    text = " ".join(seen.out.split())
    (example,) = re.findall(r"Example: python main\.py (.+?) (?=Arguments:|Options:)", text)
    words = shlex.split(example)
    path = name.split()
    assert words[: len(path)] == path
    with COMMANDS[name].make_context(name, words[len(path) :]) as context:
        said = [name for name in context.params if context.get_parameter_source(name).name == TYPED]
        assert bool(said) == (len(words) > len(path))


def test_the_help_lists_every_command(tmp_path):
    """And says what the program is for."""
    seen = tremor(World(tmp_path, ""), "--help")
    assert seen.code == 0
    assert "unusual in the market" in seen.out
    for name in COMMANDS:
        assert name.split()[0] in seen.out


def test_a_bare_main_equals_run(town):
    """Judged as of now, when the files are long out of date: told as data trouble."""
    bare = tremor(town)
    assert bare.code == 0
    assert "run as of" in bare.out
    command = town.query("select command, status from runs")
    assert command.to_dict("records") == [{"command": "run", "status": "finished"}]
    assert "the last bar is 2024-03-12" in bare.out


def test_a_run_and_what_is_said_of_its_alert(town):
    """List, show, acknowledge, snooze and label, through the command line, on a real run."""
    assert tremor(town, "alerts", "list").out.strip() == "alerts: none"
    first = tremor(town, *RUN)
    assert first.code == 0
    assert "AAA -20.0 % unusual" in first.out
    assert "report: " in first.out
    again = tremor(town, *RUN)
    assert again.code == 0
    assert "unusual" not in again.out

    listed = tremor(town, "alerts", "list", "--json")
    (alert,) = json.loads(listed.out)["alerts"]
    assert alert["kind"] == "anomaly"
    assert alert["ts"] == "2024-03-12"
    assert alert["id"] in tremor(town, "alerts", "list").out

    shown = tremor(town, "alerts", "show", alert["id"])
    assert "from open to close it fell 20.0 %" in shown.out
    noted = tremor(town, "alerts", "acknowledge", alert["id"], "--note", "seen; 'quoted'")
    assert noted.out == f"acknowledge: {alert['id']} (AAA)\n"
    until = ("--until", "2024-04-01")
    assert tremor(town, "alerts", "snooze", alert["id"], *until).code == 0
    assert tremor(town, "alerts", "label", alert["id"], "--as", "confirmed").code == 0
    wrong = tremor(town, "alerts", "label", alert["id"], "--as", "odd")
    assert "'odd' is no finding. Known: confirmed" in wrong.error
    assert "no alert 'nosuch'" in tremor(town, "alerts", "show", "nosuch").error

    said = json.loads(tremor(town, "alerts", "show", alert["id"], "--json").out)["said"]
    assert [each["action"] for each in said] == ["acknowledge", "snooze", "label"]
    assert "snooze AAA until 2024-04-01" in tremor(town, "alerts", "show", alert["id"]).out


def test_status_for_a_person_and_for_a_program(town):
    """The same five tables."""
    for symbol in ("AAA", "BBB"):
        frame = history(symbol, n_bars=400)
        frame.loc[5, "High"] = 1
        day = frame.loc[5, "Date"]
        town.put(symbol, frame)
    assert tremor(town, *RUN).code == 0
    tables = json.loads(tremor(town, "status", "--json").out)
    assert list(tables) == ["runs", "freshness", "quarantine", "pending deliveries", "warehouse"]
    assert tables["warehouse"][0]["engine"].startswith("PostgreSQL ")
    assert [row["symbol"] for row in tables["freshness"]] == ["AAA", "BBB"]
    assert tables["freshness"][0]["n_bars"] == 399
    assert tables["quarantine"] == [
        {"check_name": "ohlc_order", "rows": 2, "first_symbol": "AAA", "first_ts": day}
    ]
    text = tremor(town, "status").out
    assert "ohlc_order" in text
    assert "run-20240313T120000Z" in text
    rows = json.loads(tremor(town, "status", "--quarantine", "--json").out)["quarantine"]
    assert len(rows) == 2


def test_a_dry_run_prints_and_stores_no_alert(town):
    """Exit code 0, the message on the terminal, no mail."""
    seen = tremor(town, *RUN, "--dry-run")
    assert seen.code == 0
    assert "AAA -20.0 % unusual" in seen.out
    assert town.messages() == []
    assert len(town.alerts()) == 0


def test_a_second_run_steps_aside(town):
    """Another is at work: a message, and 0."""
    with open_parts(town.read_settings(), MORNING):
        for command in (RUN, ("backfill", "--since", "2024-01-01"), ("replay",)):
            seen = tremor(town, *command)
            assert seen.code == 0
            (line,) = seen.said
            assert "another run is at work" in line
            assert "this one steps aside" in line
            assert seen.out == ""
        assert tremor(town, "status").code == 0


def test_a_backfill_that_was_interrupted_asks_only_for_what_is_missing(town):
    """The second instrument fails; once its file is there, it alone is fetched."""
    since = ("backfill", "--since", "2023-06-01", "--until", "2024-03-13")
    symbols = ("--symbols", "AAA,CCC")
    broken = tremor(town, *since, *symbols)
    assert broken.code == 3
    assert broken.said[0].startswith("failed: CCC: ")
    asked = "select symbol, count(*) as n from raw_objects group by 1 order by 1"
    assert town.query(asked).to_dict("records") == [{"symbol": "AAA", "n": 1}]
    town.put("CCC", history("CCC", n_bars=400))
    whole = tremor(town, *since, *symbols)
    assert whole.code == 0
    assert town.query(asked).to_dict("records") == [
        {"symbol": "AAA", "n": 1},
        {"symbol": "CCC", "n": 1},
    ]
    assert "as of" in whole.out
    n_bars = town.query("select symbol, count(*) as n, min(ts) as first from candles group by 1")
    assert len(set(n_bars["n"])) == 1
    assert (n_bars["first"] == pd.Timestamp("2023-06-01", tz="UTC")).all()
    assert len(town.alerts()) == 0
    assert town.messages() == []


def test_two_backfills_never_share_an_instant():
    """The second would take what the first had fetched for its own, and ask for nothing."""
    instants = [fresh_instant() for _ in range(3)]
    assert instants == sorted(set(instants))
    assert pd.Timestamp.now("UTC") - instants[-1] < pd.Timedelta(seconds=1)


def test_replay_makes_a_lost_warehouse_anew(town, make_postgres_url):
    """Offline, from the lake alone: the same candles, verdicts and alerts, and nobody is told."""
    assert tremor(town, *RUN).code == 0
    before = town.everything()
    town.postgres_url = make_postgres_url()
    for path in town.files.iterdir():
        path.rename(path.with_suffix(".away"))
    seen = tremor(town, "replay", symbols="AAA,BBB")
    assert seen.code == 0
    assert seen.out.startswith("replay as of")
    assert town.everything() == before
    assert tremor(town, *RUN, symbols="AAA,BBB").code == 0
    assert len(town.messages()) == 1


def test_exit_code_3_when_a_part_failed(town):
    """The rest is judged and told; the failed one is named on the terminal."""
    seen = tremor(town, *RUN, "--symbols", "AAA,GONE")
    assert seen.code == 3
    (line,) = seen.said
    assert line.startswith("failed: GONE: no file GONE.csv")
    assert "AAA -20.0 %" in seen.out
    assert f"run as of {MORNING:%Y-%m-%d %H:%M} UTC" in seen.out
    assert tremor(town, "run", "--as-of", f"{MORNING + DAY:%Y-%m-%d}", "--symbols", "AAA").code == 0
