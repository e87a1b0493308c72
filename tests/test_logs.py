"""The log: for a person at a terminal, and as JSON for the machine that starts the runs."""

import json
import os
import pty
import re
import subprocess
import sys
import time

import pandas as pd
import pytest

from tests.terminal import ROOT, environment, hurry, tremor
from tests.worlds import MORNING

RUN = ("run", "--as-of", "2024-03-13T12:00")


@pytest.fixture
def town(world, postgres_server):
    """A market with one crash."""
    hurry(postgres_server)
    world.put_market(AAA=0.2)
    return world


def lines(seen):
    """The log of a command: all but the lines in which it speaks to its user."""
    return [json.loads(line) for line in seen.err.splitlines() if line not in seen.said]


def test_every_line_is_json_with_the_run_and_the_time(town):
    """What is not written for a terminal is read by a machine."""
    began = pd.Timestamp.now("UTC")
    seen = lines(tremor(town, *RUN))
    assert {line["run"] for line in seen} == {f"run-{MORNING:%Y%m%dT%H%M%SZ}"}
    times = pd.to_datetime([line["time"] for line in seen])
    assert times.is_monotonic_increasing
    assert began <= times[0] <= times[-1] <= pd.Timestamp.now("UTC")
    assert {line["level"] for line in seen} == {"INFO"}


def test_each_step_is_a_line_with_its_seconds(town):
    """The steps of the log are the steps that the run's record adds up."""
    seen = lines(tremor(town, *RUN))
    took = pd.DataFrame([line for line in seen if line.get("event") == "step"])
    manifest = next((town.folder / "var/lake/runs").glob("run-*/manifest.json"))
    recorded = json.loads(manifest.read_text())["seconds"]
    summed = took.groupby("step")["seconds"].sum().drop("close")
    assert set(summed.index) == set(recorded)
    for step, seconds in recorded.items():
        assert summed[step] == pytest.approx(seconds, abs=0.02), step


def beats(seen):
    return [line for line in lines(seen) if line.get("event") == "heartbeat"]


def test_a_finished_run_beats_once_and_says_how_it_ended(town):
    """The metric that proves that a run took place is counted from this line."""
    (beat,) = beats(tremor(town, *RUN))
    assert (beat["command"], beat["exit_code"], beat["alerts"]) == ("run", 0, 1)
    assert 0 < beat["seconds"] < 120
    (beat,) = beats(tremor(town, *RUN, heartbeat_url="http://127.0.0.1:1/T0KEN"))
    assert beat["exit_code"] == 3
    # What is recorded says the same.
    assert town.query("select exit_code from runs")["exit_code"].tolist() == [3]
    (manifest,) = (town.folder / "var/lake/runs").glob("run-*/manifest.json")
    assert json.loads(manifest.read_text())["exit_code"] == 3


def test_what_is_no_finished_run_does_not_beat(town):
    """Neither a dry run, nor another command, nor one that failed stands for a run."""
    assert beats(tremor(town, *RUN, "--dry-run")) == []
    assert beats(tremor(town, "backfill", "--since", "2024-03-01")) == []
    failed = tremor(town, *RUN, detectors="nonsense")
    assert failed.code == 2
    assert "heartbeat" not in failed.err


def test_a_warning_from_any_thread_names_its_run(town):
    """A retry is logged by the thread that fetches."""
    seen = tremor(town, *RUN, source="yahoo", yahoo_url="http://127.0.0.1:1", attempts=2)
    warnings = [line for line in lines(seen) if line["level"] == "WARNING"]
    assert warnings
    assert all("Trying again in" in line["message"] for line in warnings)
    assert {line["run"] for line in warnings} == {f"run-{MORNING:%Y%m%dT%H%M%SZ}"}


def test_warnings_of_libraries_are_lines_of_the_log_too():
    """Whoever gives them: a logger of its own, or Python's warnings."""
    code = (
        "import sys, logging, warnings\n"
        "from components import logs\n"
        "logs.start(sys.stderr); logs.name_run('run-x')\n"
        "logging.getLogger('library').warning('careful')\n"
        "warnings.warn('also careful')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    first, second = [json.loads(line) for line in done.stderr.splitlines()]
    assert (first["name"], first["message"], first["run"]) == ("library", "careful", "run-x")
    assert "also careful" in second["message"]


def test_a_person_at_a_terminal_reads_words(town):
    """No braces: time, level and what was done."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "main.py"), *RUN],
        cwd=town.folder,
        env=environment(town),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    shown, deadline = b"", time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        shown += piece
    os.close(ours)
    assert process.wait(10) == 0
    text = shown.decode()
    assert re.search(r"\d{4}-\d\d-\d\d [\d:,]+ INFO tremor judge took \d+\.\d\d s", text)
    assert '{"' not in text
