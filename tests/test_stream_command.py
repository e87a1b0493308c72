"""The command ``stream`` in processes of its own: killed, stopped, cut off, and beside others."""

import random
import signal
import time
import urllib.request
from contextlib import contextmanager
from functools import partial

import pandas as pd
import pytest

from components.tables import CHANNELS, INTRADAY, MARKET, VERDICTS
from tests.killed_run import until_free
from tests.streams_made import FIRST, MINUTE, N_BARS, NAMES, batch, known, market, same, worlds
from tests.terminal import begin, discreet, end, environment, run_sql, tremor

UNTIL = FIRST + N_BARS * MINUTE
SPAN = ("--since", f"{FIRST:%Y-%m-%dT%H:%M}", "--until", f"{UNTIL:%Y-%m-%dT%H:%M}")
REPLAY = ("stream", *SPAN, "--keep")

# The day in about a quarter of a minute.
PACED = (*REPLAY, "--speed", "6000")

TOLD = {
    "alerts": "select id, kind, ts, symbols::text, headline from alerts order by id",
    "incidents": "select id, kind, symbol, ts, alert_id, incident from incidents order by id",
}


@pytest.fixture(scope="module")
def make_coins(postgres_server, tmp_path_factory):
    """Make a world of six coins, whose files lie in one folder."""
    files = tmp_path_factory.mktemp("files")
    rows = market()
    for symbol, own in rows.groupby("symbol"):
        frame = own.rename(columns=str.capitalize).assign(Date=own["ts"].dt.strftime("%F %T+00:00"))
        frame = frame[["Date", "Open", "High", "Low", "Close", "Volume"]]
        frame.to_csv(files / f"{symbol}_1m.csv", index=False)

    make = worlds(postgres_server, tmp_path_factory, "command")
    return partial(make, files_root=files, alerts_per_week=20)


@pytest.fixture(scope="module")
def undisturbed(make_coins):
    """A replay that nobody disturbed."""
    world = make_coins()
    seen = tremor(world, *REPLAY)
    assert seen.code == 0, seen
    assert f"{len(market()):,} bars judged" in seen.out.splitlines()[-1]
    return world


@contextmanager
def at_work(world, *arguments, n_bars=1000, **settings):
    """A stream that has judged so many bars and goes on."""
    process = begin(world, *arguments, **settings)
    try:
        count = "select count(*) as n from verdicts"
        for _ in range(1200):
            if process.poll() is not None or n_judged(world, count) >= n_bars:
                break
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        if not process.stdout.closed:
            process.communicate()


def n_judged(world, count):
    with_tables = world.query("select to_regclass('tremor.verdicts') is not null as has")
    return world.query(count)["n"].iloc[0] if with_tables["has"].iloc[0] else 0


def same_as(undisturbed, world):
    """Check that a world holds what a stream leaves that nobody disturbed."""
    for table in (VERDICTS, MARKET, CHANNELS, INTRADAY):
        same(undisturbed, world, table)
    for question in TOLD.values():
        pd.testing.assert_frame_equal(world.query(question), undisturbed.query(question))
    once = world.query("select count(*) as n, count(distinct (symbol, ts)) as m from verdicts")
    assert once["n"].tolist() == once["m"].tolist()
    assert not len(world.query("select 1 from deliveries where delivered_at is null"))


def told_by_mail(world):
    """The ids of the alerts in the outbox, mail by mail."""
    ids = world.query("select id from alerts")["id"]
    texts = [mail.get_body(("plain",)).get_content() for mail in world.messages()]
    return [[one for one in ids if one in text] for text in texts]


def test_a_replay_finds_what_the_batch_finds(make_coins, undisturbed):
    """Verdicts, market and channels of the command are those of one batch over the same files."""
    world = make_coins()
    rows = undisturbed.query("select * from candles_intraday")
    batch(world, rows, UNTIL)
    for table in (VERDICTS, MARKET, CHANNELS):
        same(undisturbed, world, table)
    assert len(rows) == len(known(market()))
    mails = [one for mail in told_by_mail(undisturbed) for one in mail]
    assert sorted(mails) == sorted(undisturbed.query("select id from alerts")["id"])


def test_a_stream_that_is_killed_again_and_again_is_finished_by_the_next(make_coins, undisturbed):
    """SIGKILL at moments of no choosing: nothing missing, nothing twice, in tables and mail."""
    world, chance, n_killed = make_coins(), random.Random(5), 0
    for goal in (300, 2000, 4000, 5500):
        with at_work(world, *PACED, n_bars=goal) as process:
            time.sleep(chance.uniform(0, 1.5))
            n_killed += process.poll() is None
            process.send_signal(signal.SIGKILL)
            process.communicate()
        until_free(world.postgres_url)
    assert n_killed >= 3
    seen = tremor(world, *REPLAY)
    assert seen.code == 0, seen
    same_as(undisturbed, world)
    mails = [one for mail in told_by_mail(world) for one in mail]
    assert set(mails) == set(world.query("select id from alerts")["id"])
    # A kill between a mail and its note repeats that mail.
    assert len(world.messages()) - len(set(map(str, told_by_mail(world)))) <= n_killed


def test_a_stream_at_work_is_alone_is_watched_and_stops_when_it_is_told(make_coins, undisturbed):
    """Others step aside; the metrics and the live state are there; SIGTERM ends it in order."""
    world, port = make_coins(), 19_000 + random.Random().randrange(9000)
    with at_work(world, *PACED, n_bars=3000, metrics_port=port) as process:
        for arguments in (PACED, ("run", "--as-of", "2024-03-05")):
            other = tremor(world, *arguments)
            assert other.code == 0, other
            (line,) = other.said
            assert "another stream of 1m bars is at work" in line
            assert "steps aside" in line
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        counted = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
        assert float(counted['tremor_verdicts_total{verdict="other"}']) > 2000
        assert float(counted["tremor_candles_total"]) >= 3000
        assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGTERM)
        seen = discreet(end(process), environment(world))
    assert seen.code == 0, seen
    assert seen.said == []
    rows = world.query("select count(*) as n from verdicts")["n"].iloc[0]
    assert 3000 <= rows < len(market())
    assert rows == world.query("select count(*) as n from candles_intraday")["n"].iloc[0]
    live = world.query("select * from live order by symbol")
    assert live["symbol"].tolist() == list(NAMES)
    assert live["n_judged"].sum() == rows
    again = tremor(world, *REPLAY)
    assert again.code == 0, again
    same_as(undisturbed, world)


def test_a_warehouse_that_goes_away_and_comes_back_costs_nothing(make_coins, undisturbed):
    """All connections are cut off, twice: the stream says so, begins again, and loses nothing."""
    world = make_coins()
    cut = (
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where datname = current_database() and application_name = 'tremor'"
    )
    with at_work(world, *PACED, n_bars=1500) as process:
        for _ in range(2):
            run_sql(world.postgres_url, cut)
            time.sleep(4)
        seen = end(process)
    assert seen.code == 0, seen
    assert "The stream begins again in" in seen.err
    assert "Traceback" not in seen.err
    same_as(undisturbed, world)


def test_a_replay_that_is_not_kept_leaves_nothing_but_its_log(make_coins):
    """No table, no schema, no mail, no state; --csv writes each bar with its verdict."""
    world = make_coins()
    seen = tremor(world, "stream", *SPAN, "--csv", "log")
    assert seen.code == 0, seen
    assert f"{len(market()):,} bars judged" in seen.out
    for table in ("candles_intraday", "verdicts", "market", "alerts", "incidents", "live"):
        assert not len(world.query(f"select 1 from {table}")), table
    schemas = world.query("select nspname::text as n from pg_namespace where nspname ~ 'scratch'")
    assert not len(schemas)
    assert world.messages() == []
    assert not [p for p in (world.folder / "var").rglob("*") if p.is_file()]
    rows = pd.concat(pd.read_csv(path) for path in sorted((world.folder / "log").glob("*.csv")))
    assert sorted(path.name for path in (world.folder / "log").iterdir()) == [
        "stream-2024-03-04.csv",
        "stream-2024-03-05.csv",
    ]
    assert len(rows) == len(market())
    assert set(rows["verdict"]) == {"undecided", "normal", "anomaly"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--feed", "kraken"), "--feed 'kraken' is none"),
        (("--feed", "binance"), "goes with --source binance"),
        (("--since", "2024-03-04"), "--since and --until"),
        (("--since", "2024-03-05", "--until", "2024-03-04"), "--until is not behind --since"),
        ((*SPAN, "--speed", "fast"), "the speed 'fast' is none"),
        ((*SPAN, "--speed", "-1"), "the speed '-1' is none"),
        (("--since", "yesterday", "--until", "2024-03-05"), "--since"),
        ((*SPAN, "--interval", "soon"), "TREMOR_INTERVAL"),
        ((*SPAN, "--symbols", "../x"), "'../x'"),
        (("--part", "half"), "--part 'half' is none"),
        (("--slowly",), "No such option"),
    ],
)
def test_wrong_arguments_are_one_line(arguments, said, make_coins):
    """Exit code 2, what is wrong and what to write in its place."""
    assert said in tremor(make_coins(), "stream", *arguments).error
