"""The README tells the truth: each of its commands is run here, and shows what it shows."""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import requests

from components.entrypoints.cli import app
from components.entrypoints.commands.alerts import alerts
from components.settings import Settings
from tests.proxies import free_port
from tests.yahoo_stand_in import YahooStandIn, chart, rows

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
COMMANDS = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
SHOWN, _, TRAINED = [text for kind, text in BLOCKS if kind == "text"]
MAKE = ["make", "-s", "-C", str(ROOT)]


def clean_environment(**more):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TREMOR_", "MAKE"))}
    return {**kept, "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}", **more}


def run(command, **more):
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env=clean_environment(**more),
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """What `make demo` prints, and the folder that it fills."""
    folder = tmp_path_factory.mktemp("demo")
    folder.parent.chmod(0o755)
    return run([*MAKE, "demo", f"DEMO={folder}"], TREMOR_SMTP_URL="smtp://nobody.invalid"), folder


def test_make_demo_prints_what_the_readme_shows(demo):
    """To the letter, and it mails nobody although a mail server is set."""
    printed, folder = demo
    assert SHOWN in printed
    assert len(list((folder / "outbox").glob("*.eml"))) == 1


def test_every_command_line_of_the_readme_works(demo):
    """In the order in which they stand, on the demo's own state."""
    folder = demo[1]
    lines = [line for line in COMMANDS if line.startswith("python main.py")]
    assert len(lines) > 8
    printed = {line: run(shlex.split(line), TREMOR_STATE_DIR=str(folder)) for line in lines}
    assert printed["python main.py train gmm"] == TRAINED


def test_make_models_says_what_to_do_next():
    """The environment of the tests holds what training needs already."""
    assert run([*MAKE, "models"]).endswith("main.py train\n")


def test_make_run_is_the_same_job_on_yahoo(tmp_path):
    """Against a stand-in that answers as Yahoo does."""
    last = pd.Timestamp.now("UTC").floor("D") - pd.Timedelta(days=400)
    reply = chart(
        "BTC-USD",
        rows(f"{last:%Y-%m-%d}", [100 + i % 7 for i in range(400)], "D"),
        zone="UTC",
        opening="00:00",
    )
    with YahooStandIn({"BTC-USD": reply}) as yahoo:
        printed = run(
            [*MAKE, "run"],
            TREMOR_YAHOO_URL=yahoo.url,
            TREMOR_SYMBOLS="BTC-USD",
            TREMOR_STATE_DIR=str(tmp_path),
        )
    assert "candles new 400" in printed


def test_the_other_make_commands_are_those_of_ci():
    """`make test` is what CI calls; running it here would never end."""
    assert [line for line in COMMANDS if line.startswith("make")] == [
        "make demo",
        "make test",
        "make run",
        "make models",
    ]
    assert "make test" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize(
    ("target", "path"), [("serve", "/v1/runs"), ("dashboard", "/_stcore/health")]
)
def test_what_is_served_answers_a_newcomer(demo, target, path):
    """`make serve` and `make dashboard` answer on this machine, and stop when they are told to."""
    port = free_port()
    name = {"serve": "TREMOR_API_PORT", "dashboard": "TREMOR_DASHBOARD_PORT"}[target]
    settings = {"TREMOR_SOURCE": "sample", "TREMOR_STATE_DIR": str(demo[1]), name: str(port)}
    process = subprocess.Popen(
        [*MAKE, target], env=clean_environment(**settings), start_new_session=True
    )
    try:
        for _ in range(600):
            assert process.poll() is None
            with contextlib.suppress(OSError):
                if requests.get(f"http://127.0.0.1:{port}{path}", timeout=5).ok:
                    break
            time.sleep(0.1)
        else:
            raise AssertionError(f"make {target} answers nobody")
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def test_every_command_is_in_the_table():
    """A command that the README does not name does not exist for its reader."""
    named = {command.callback.__name__ for command in app.registered_commands}
    groups = {"alerts", "models", "compare", "promote", "rollback", "score"}
    for name in named | groups | {"acknowledge", "snooze", "label"}:
        assert f"`{name}`" in README, name
    assert {c.callback.__name__ for c in alerts.registered_commands} >= {"acknowledge", "snooze"}


def test_every_setting_it_names_exists():
    """No setting is promised that nobody reads."""
    names = set(re.findall(r"TREMOR_([A-Z_]+)", README))
    assert names <= {name.upper() for name in Settings.model_fields}


def test_every_link_leads_somewhere():
    """Files and pictures that it points to are there."""
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / target).exists(), target
