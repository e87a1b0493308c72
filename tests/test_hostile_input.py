"""Hostile and mistaken input through the real command line: one line, exit code 2, no secret."""

import pytest

from tests.terminal import tremor
from tests.worlds import MORNING, history

SECRET = "s3cret-Pa55"

AS_OF = f"{MORNING:%Y-%m-%dT%H:%M}"

# What is typed or set, and words of the line that answers it.
MISTAKES = {
    "a symbol that climbs": (["run", "--symbols", "../../etc/passwd"], {}, ["'../../etc/passwd'"]),
    "a symbol with SQL": (["run", "--symbols", "a'; drop table candles; --"], {}, ["drop table"]),
    "a symbol with a line break": ([], {"symbols": "AAA\nBBB"}, ["AAA"]),
    "a sender with a line break": (
        [],
        {"alert_from": "a@example.com\r\nBcc: b@example.com", "smtp_url": "smtp://127.0.0.1:9"},
        ["TREMOR_ALERT_FROM", "no e-mail address"],
    ),
    "a recipient with a line break": (
        [],
        {"alert_to": "a@example.com\nBcc: b@example.com", "smtp_url": "smtp://127.0.0.1:9"},
        ["TREMOR_ALERT_TO", "no e-mail address"],
    ),
    "a sender with a line break, to the outbox": (
        [],
        {"alert_from": "a@example.com\r\nBcc: b@example.com"},
        ["TREMOR_ALERT_FROM", "no e-mail address"],
    ),
    "an option before the command": (["--source", "yaho"], {}, ["No such option: --source. See"]),
    "an unknown source": (
        ["run", "--source", "yaho"],
        {},
        ["no source is called 'yaho'", "files, sample, yahoo"],
    ),
    "an unknown detector": ([], {"detectors": "crystal_ball"}, ["'crystal_ball'", "Known:"]),
    "an unknown calendar": ([], {"calendars": "AAA=XMOON"}, ["XMOON"]),
    "a malformed calendar": ([], {"calendars": "AAA"}, ["TREMOR_CALENDARS"]),
    "a date that is none": (["run", "--as-of", "nonsense"], {}, ["--as-of 'nonsense'"]),
    "a date beyond the calendars": (["run", "--as-of", "9999-01-01"], {}, ["--as-of 9999-01-01 00:00 UTC is still to come"]),
    "a date before everything": (["run", "--as-of", "0001-01-01"], {}, ["--as-of", "is before 1970"]),
    "a wrong option": (["run", "--no-such-thing"], {}, ["--no-such-thing"]),
    "a wrong command": (["rnu"], {}, ["rnu"]),
    "an option without its value": (["run", "--symbols"], {}, ["--symbols"]),
    "a folder that is not set": ([], {"files_root": None}, ["TREMOR_FILES_ROOT"]),
    "a folder that is not there": ([], {"files_root": "/no/such/folder"}, ["/no/such/folder"]),
    "a lake by FTP": ([], {"lake_url": "ftp://x"}, ["TREMOR_LAKE_URL"]),
    "a lake without a bucket": ([], {"lake_url": "s3://"}, ["TREMOR_LAKE_URL"]),
    "a warehouse of another make": (
        [],
        {"warehouse_url": f"mysql://user:{SECRET}@x/y"},
        ["TREMOR_WAREHOUSE_URL", "postgresql://"],
    ),
    "a warehouse's address that is broken": (
        [],
        {"warehouse_url": f"postgresql://user:{SECRET}@x:port/y"},
        ["TREMOR_WAREHOUSE_URL"],
    ),
    "a mail server's address that is broken": (
        [],
        {"smtp_url": f"smtp://user:{SECRET}@host:port"},
        ["TREMOR_SMTP_URL"],
    ),
    "a webhook in clear": (
        [],
        {"webhook_url": f"http://example.com/{SECRET}"},
        ["TREMOR_WEBHOOK_URL"],
    ),
    "a number that is none": ([], {"alerts_per_year": "many"}, ["TREMOR_ALERTS_PER_YEAR"]),
    "a budget that is not a number": ([], {"alerts_per_year": "nan"}, ["TREMOR_ALERTS_PER_YEAR"]),
    "no attempt": ([], {"attempts": 0}, ["TREMOR_ATTEMPTS"]),
    "an interval that is not served": (["run", "--interval", "1h"], {}, ["TREMOR_INTERVAL"]),
    "a backfill the wrong way round": (
        ["backfill", "--since", "2024-02-01", "--until", "2024-01-01"],
        {},
        ["--since 2024-02-01 is not before --until 2024-01-01"],
    ),
    "an alert that does not exist": (["alerts", "show", "'; --"], {}, ["no alert"]),
}


@pytest.fixture(scope="module")
def mistakes(tmp_path_factory, postgres_server):
    """What is seen of each mistake, two processes at a time."""
    from concurrent.futures import ThreadPoolExecutor

    from tests.worlds import World

    def seen(name):
        arguments, settings, _ = MISTAKES[name]
        world = World(tmp_path_factory.mktemp("mistake"), postgres_server)
        world.put("AAA", history("AAA", n_bars=30))
        return world, tremor(world, *arguments, **settings)

    with ThreadPoolExecutor(3) as pool:
        return dict(zip(MISTAKES, pool.map(seen, MISTAKES), strict=True))


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_answered_with_one_line(name, mistakes):
    """What, where and the remedy; no traceback, no secret, nothing written."""
    world, seen = mistakes[name]
    for words in MISTAKES[name][2]:
        assert words in seen.error
    assert SECRET not in seen.out + seen.err
    assert seen.out == ""
    left = [path for path in (world.folder / "var").rglob("*") if path.is_file()]
    assert left == []
