"""Hostile and mistaken input through the real command line: one line, exit code 2, no secret."""

import pandas as pd
import pytest

from tests.terminal import tremor
from tests.worlds import MORNING, World, history

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
        ["no source is called 'yaho'", "files, polygon, sample, sql, yahoo"],
    ),
    "an unknown detector": ([], {"detectors": "crystal_ball"}, ["'crystal_ball'", "Known:"]),
    "an unknown calendar": ([], {"calendars": "AAA=XMOON"}, ["XMOON"]),
    "a malformed calendar": ([], {"calendars": "AAA"}, ["TREMOR_CALENDARS"]),
    "a date that is none": (["run", "--as-of", "nonsense"], {}, ["--as-of 'nonsense'"]),
    "a date beyond the calendars": (
        ["run", "--as-of", "9999-01-01"],
        {},
        ["--as-of 9999-01-01 00:00 UTC is still to come"],
    ),
    "a date before everything": (
        ["run", "--as-of", "0001-01-01"],
        {},
        ["--as-of", "is before 1970"],
    ),
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
    "a backfill the wrong way round": (
        ["backfill", "--since", "2024-02-01", "--until", "2024-01-01"],
        {},
        ["--since 2024-02-01 is not before --until 2024-01-01"],
    ),
    "an alert that does not exist": (["alerts", "show", "'; --"], {}, ["no alert"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_answered_with_one_line(name, tmp_path, postgres_server):
    """What, where and the remedy; no traceback, no secret, nothing written."""
    arguments, settings, words = MISTAKES[name]
    world = World(tmp_path, postgres_server)
    world.put("AAA", history("AAA", n_bars=30))
    seen = tremor(world, *arguments, **settings)
    assert [each for each in words if each not in seen.error] == []
    assert SECRET not in seen.out + seen.err
    assert seen.out == ""
    left = [path for path in (tmp_path / "var").rglob("*") if path.is_file()]
    assert left == []


@pytest.mark.parametrize("interval", ["1h", "7d"])
def test_bars_of_another_length_are_not_judged_as_if_they_were_of_this(
    interval, tmp_path, postgres_server
):
    """Days asked for as hours or weeks: nothing is let in, and the line says what to set."""
    world = World(tmp_path, postgres_server)
    world.put("AAA", history("AAA", n_bars=30))
    seen = tremor(world, "run", "--interval", interval)
    assert seen.code == 3
    assert f"its bars are 24 hours apart, which is not {interval}. Set TREMOR_INTERVAL" in seen.out


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"Date,Close\n2024-01-02," + b"9" * 10_000_000 + b"\n", "BAD"),
        (bytes(range(256)) * 4000, "BAD"),
        (b"\x1f\x8b\x08\x00nothing packed", "cannot be unpacked"),
        (b'{"chart": [[[', "BAD"),
        (b"", "BAD"),
        (b"=cmd|' /C calc'!A0,2\n1,2\n", "BAD"),
    ],
    ids=["a huge number", "binary", "a broken archive", "JSON", "empty", "a formula"],
)
def test_a_bad_file_among_good_ones_is_named_and_the_others_are_judged(content, words, world):
    """Exit code 3; a short line for it, and no traceback."""
    world.put("AAA", history("AAA", n_bars=400))
    world.put("BAD", history("AAA", n_bars=3)).write_bytes(content)
    seen = tremor(world, "run", "--as-of", AS_OF)
    assert seen.code == 3
    (line,) = seen.said
    assert line.startswith("failed: BAD: ")
    assert words in line
    assert len(line) < 400
    assert "Traceback" not in seen.err
    assert world.query("select symbol from verdicts")["symbol"].unique().tolist() == ["AAA"]


def test_a_cell_of_ten_megabytes_is_kept_aside_and_cut_short(world):
    """A row without a readable date is told as data trouble; the file's other rows count."""
    good = history("AAA", n_bars=400)
    path = world.put("AAA", good)
    path.write_bytes(path.read_bytes() + b"x" * 10_000_000 + b",1,1,1,1,1\n")
    seen = tremor(world, "run", "--as-of", AS_OF)
    assert seen.code == 0
    assert len(seen.out) < 5000
    kept = world.query("select check_name, length(row_text::text) as n from quarantine")
    assert "no_time" in set(kept["check_name"])
    assert kept["n"].max() < 10_000


def test_a_list_of_numbers_on_one_line_is_refused_at_once(tmp_path, postgres_server):
    """Not after minutes of making a column of each."""
    world = World(tmp_path, postgres_server)
    world.put("AAA", history("AAA", n_bars=30))
    (world.files / "BBB.csv").write_text(
        "[" + ",".join("[1700000000000,64000.25]" for _ in range(200_000))
    )
    seen = tremor(world, "run")
    assert seen.code == 3
    assert "BBB.csv: its first line has 5000 cells or more, so it is no header" in seen.out


def test_rows_without_a_time_are_counted_told_once_and_given_no_date(world):
    """Not as one bar of 1970; a file that has them and grows is not told again."""
    good = history("MS", n_bars=400)
    untimed = good.tail(2).assign(Date=["soon", ""])
    before = MORNING - pd.Timedelta(days=1)
    world.put("MS", pd.concat([good[:200], untimed, good[200:-1]]), before)
    words = (
        "2 rows failed no_time; first: MS without a time. Kept in quarantine; see "
        "`python main.py status --quarantine`"
    )
    summary = world.run(before)
    (payload,) = world.alerts("data")["payload"]
    assert payload["notes"] == [words]
    (path,) = (world.folder / "var").rglob("report.html")
    assert "<td>MS without a time</td>" in path.read_text()
    assert summary.exit_code == 0
    world.put("MS", pd.concat([good[:200], untimed, good[200:]]))
    world.run()
    kept = world.query("select count(*) as n from quarantine where check_name = 'no_time'")
    assert kept["n"].tolist() == [4]
    assert len(world.alerts("data")) == 1
    seen = tremor(world, "status", "--quality", "--as-of", AS_OF)
    assert "no_time  2 rows, first MS without a time; MS 2" in seen.out
    assert "1970" not in seen.out
