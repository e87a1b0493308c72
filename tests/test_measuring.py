"""Payments through whole runs: zeros, new and stopped series, open months, lateness, troubles."""

import json
from dataclasses import dataclass, field, replace
from typing import ClassVar

import pandas as pd
import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components import steps
from components.bins import bin_end
from components.errors import SourceError
from components.records import CandleRequest
from components.sources.queries import Binning, Query, QuerySource
from components.steps.measuring import expected_bin, last_bins
from components.wiring import open_parts
from components.words import moment
from tests.athena_server import athena_server, prepare_environment
from tests.proxies import free_port
from tests.terminal import tremor
from tests.worlds import World

QUERY = (
    "select country as series, paid_at as ts, amount as value from payments "
    "where paid_at >= :since and paid_at < :until"
)
LATEST = """
select distinct on (data_set, series, ts) data_set, series, ts, value from measures
order by data_set, series, ts, known_at desc
"""
DAYS = pd.date_range("2024-01-01 09:00", "2024-04-01 09:00", freq="D")


def utc(text):
    return pd.Timestamp(text, tz="UTC")


# The third of April, within the bin from 14:00 on.
NOW = utc("2024-04-03 15:10")


@dataclass
class Shop:
    """A database of payments, and runs that read it."""

    world: World
    url: str
    settings: dict

    def execute(self, statement, rows=((),)):
        """Run a statement that writes."""
        with psycopg2.connect(self.url) as connection, connection.cursor() as cursor:
            for row in rows:
                cursor.execute(statement, row)
        connection.close()

    def pay(self, *rows):
        """Book payments: country, time (UTC), amount."""
        self.execute("insert into payments values (%s, %s, %s)", rows)

    def run(self, as_of=NOW, **settings):
        """The daily run, whole."""
        return self.world.run(as_of, **{**self.settings, **settings})

    def values(self, series=None):
        """What is known of each bin now, in the latest version."""
        rows = self.world.query(LATEST)
        rows = rows if series is None else rows[rows["series"] == series]
        return rows.set_index(["series", "ts"])["value"]

    def notes(self):
        """Everything told about data, alert by alert."""
        payloads = self.world.alerts("data")["payload"]
        return [note for payload in payloads for note in payload["notes"]]

    def parts(self, as_of=NOW, **settings):
        """The open parts of a run that only reads."""
        wanted = self.world.read_settings(**{**self.settings, **settings})
        return open_parts(wanted, as_of, reads_only=True)


def opened_shop(world, url):
    query = world.folder / "payments.sql"
    query.write_text(QUERY)
    settings = {"source": "sql", "sql_url": url, "measures_query": query, "history_years": 0.25}
    shop = Shop(world, url, settings)
    shop.execute("create table payments (country text, paid_at timestamp, amount numeric(12, 2))")
    return shop


@pytest.fixture
def shop(world, make_postgres_url):
    """A shop without a payment yet."""
    return opened_shop(world, make_postgres_url())


def bins_of(since, until):
    return pd.date_range(utc(since), utc(until), freq="2h")


# Zeros


def test_a_series_has_a_row_in_every_bin_from_its_first_payment_on(shop):
    """Months without a payment of it are zero, though their replies have no row of it."""
    shop.pay(("DE", "2024-01-05 09:30", 10), ("DE", "2024-03-20 11:00", 4))
    shop.pay(("FR", "2024-02-10 23:59", 2), ("FR", "2024-02-10 23:00", 3))
    shop.run()
    german, french = shop.values("DE")["DE"], shop.values("FR")["FR"]
    assert list(german.index) == list(bins_of("2024-01-05 08:00", "2024-04-03 12:00"))
    assert german[german != 0].to_dict() == {
        utc("2024-01-05 08:00"): 10.0,
        utc("2024-03-20 10:00"): 4.0,
    }
    assert list(french.index) == list(bins_of("2024-02-10 22:00", "2024-04-03 12:00"))
    assert french[french != 0].to_dict() == {utc("2024-02-10 22:00"): 5.0}


def test_the_months_may_come_in_any_order(make_world, make_postgres_url):
    """A backfill behind the first run gives the rows that one long first run would have given."""
    shops = [opened_shop(make_world(), make_postgres_url()) for _ in range(2)]
    for each in shops:
        each.pay(("DE", "2023-11-05 09:30", 10), ("DE", "2024-03-20 11:00", 4))
        each.pay(("stopped", "2023-12-01 00:00", 1), ("FR", "2024-03-30 10:00", 3))
    whole, apart = shops
    whole.run(history_years=0.5)
    apart.run(history_years=0.05)
    assert "stopped" not in set(apart.values().index.get_level_values("series"))
    for since, until in [("2024-02-01", "2024-03-01"), ("2023-10-01", "2024-02-01")]:
        seen = tremor(apart.world, "backfill", "--since", since, "--until", until, **apart.settings)
        assert seen.code == 0, seen
    pd.testing.assert_series_equal(apart.values(), whole.values())
    assert apart.run(as_of=NOW + pd.Timedelta(minutes=10)).counts["measures_new"] == 0


def test_files_say_nothing_beyond_their_last_row(world):
    """What comes behind a table's end is not zero but unknown, and told as late."""
    meaning = world.folder / "measures.toml"
    meaning.write_text('[shop]\nfiles = "shop*"\ntime = "at"\nvalue = "paid"\nseries = "land"\n')
    rows = {"at": ["2024-03-01 09:00", "2024-03-05 09:00"], "land": ["DE", "FR"], "paid": [1, 2]}
    world.put("shop", pd.DataFrame(rows))
    summary = world.run(NOW, measures_file=meaning)
    values = world.query(LATEST).set_index(["series", "ts"])["value"]
    assert list(values["DE"].index) == list(bins_of("2024-03-01 08:00", "2024-03-05 08:00"))
    assert list(values["FR"].index) == [utc("2024-03-05 08:00")]
    (payload,) = world.alerts("data")["payload"]
    assert payload["notes"] == [
        "shop: the last bin is 2024-03-05 08:00 UTC; 2024-04-03 12:00 UTC was expected"
    ]
    assert payload["headline"] == "data trouble with 1 data set"
    assert summary.exit_code == 0


# Months asked again


def test_a_second_run_asks_for_the_open_months_alone_and_writes_nothing(shop):
    """What was settled is not looked at again; what is unchanged is no new row."""
    shop.pay(*[("DE", day, 5) for day in DAYS])
    first = shop.run()
    assert first.counts["measures_new"] == len(shop.values())
    objects = shop.world.query("select key from raw_objects")
    # A settled month that changes all the same is not seen: it is not asked for.
    shop.pay(("DE", "2024-02-05 09:00", 99))
    again = shop.run(NOW + pd.Timedelta(minutes=10))
    assert again.counts["measures_new"] == 0
    assert len(again.hashes) == 2  # March has not settled yet, and April is open
    assert len(shop.world.query("select key from raw_objects")) == len(objects)
    assert shop.values().max() == 5


def test_an_open_month_is_asked_again_until_it_has_settled(shop):
    """A late booking is a new version, and what was taken back is zero from then on."""
    shop.pay(("DE", "2024-04-02 09:00", 5), ("slip", "2024-04-02 09:00", 7))
    shop.run()
    shop.execute("update payments set country = 'DE' where country = 'slip'")
    later = NOW + pd.Timedelta(hours=2)
    shop.run(later)
    at = utc("2024-04-02 08:00")
    assert shop.values()["DE", at] == 12
    assert shop.values()["slip", at] == 0
    versions = shop.world.query(
        "select value, known_at from measures where series = 'DE' and ts = %(at)s order by 2",
        at=at.to_pydatetime(),
    )
    assert list(versions["value"]) == [5, 12]
    assert list(versions["known_at"]) == [NOW, later]
    assert shop.values("DE").index[-1][1] == utc("2024-04-03 14:00")


def test_bins_of_another_length_are_made_of_the_same_replies(shop):
    """Settled months are kept once: the database is not asked for them again."""
    shop.pay(*[("DE", day, 5) for day in DAYS])
    shop.run()
    shop.execute("delete from payments where paid_at < '2024-03-01'")
    shop.run(interval="1d")
    rows = shop.world.query("select * from measures where interval = '1d'")
    assert rows["value"].sum() == 5 * len(DAYS)


# Empty bins that are missing


def test_where_no_payment_is_a_gap_none_is_made_up(shop):
    """Bins without a payment have no row; those without any of the data set are told."""
    hours = pd.date_range("2024-03-01 00:30", "2024-04-03 13:30", freq="2h")
    gap = (hours >= "2024-03-28 10:00") & (hours < "2024-03-28 16:00")
    shop.pay(*[("DE", at, 5) for at in hours[~gap]], ("stopped", "2024-03-25 09:00", 1))
    summary = shop.run(measures_empty="missing")
    assert (shop.values() != 0).all()
    assert len(shop.values("stopped")) == 1
    assert len(shop.values("DE")) == len(hours) - 3
    days = "2024-03-28 10:00 UTC, 2024-03-28 12:00 UTC, 2024-03-28 14:00 UTC"
    assert shop.notes() == [f"payments: 3 bins missing ({days})"]
    shop.run(NOW + pd.Timedelta(minutes=10), measures_empty="missing")
    assert len(shop.notes()) == 1
    assert summary.exit_code == 0


def test_a_bin_that_is_still_filling_up_is_never_late(shop):
    """Not a minute before its end, without any patience; once it is over, it is."""
    hours = pd.date_range("2024-03-01 00:30", "2024-04-03 13:30", freq="2h")
    shop.pay(*[("DE", at, 5) for at in hours])
    settings = {"measures_empty": "missing", "grace_hours": 0}
    shop.run(utc("2024-04-03 15:59:59"), **settings)
    assert shop.notes() == []
    shop.run(utc("2024-04-03 16:00"), **settings)
    assert shop.notes() == [
        "payments: the last bin is 2024-04-03 12:00 UTC; 2024-04-03 14:00 UTC was expected"
    ]


def test_where_no_payment_is_zero_a_quiet_shop_is_no_trouble(shop):
    """The database was asked, and there was none: the bins are known."""
    shop.run()
    assert shop.notes() == []
    assert len(shop.values()) == 0
    with shop.parts() as parts:
        assert last_bins(parts, NOW) == {"payments": utc("2024-04-03 12:00")}


# The operator's clock


@given(
    st.integers(0, 3 * 366 * 24 * 60),
    st.sampled_from(["Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "UTC"]),
    st.sampled_from(["15m", "2h", "1d"]),
)
def test_the_expected_bin_is_the_last_that_is_over(minutes, zone, interval):
    """Whatever the clocks do that day."""
    as_of = utc("2017-01-01") + pd.Timedelta(minutes=minutes)
    bin_ = expected_bin(_Clock(_Zone(interval, zone)), as_of)
    end = bin_end(pd.DatetimeIndex([bin_]), interval, zone)
    assert end[0] <= as_of < bin_end(end, interval, zone)[0]


@dataclass
class _Zone:
    interval: str
    zone: str


@dataclass
class _Clock:
    """As much of the parts as a clock needs."""

    watch: _Zone


@pytest.mark.parametrize(
    ("as_of", "expected", "following"),
    [
        # Clocks go forward at 01:00 UTC: the bin that held the jump was an hour long.
        ("2024-03-31 02:30", "2024-03-31 01:00", "2024-03-31 02:00"),
        ("2024-03-31 02:00", "2024-03-31 01:00", "2024-03-31 02:00"),
        ("2024-03-31 01:59", "2024-03-30 23:00", "2024-03-31 01:00"),
        # Clocks go back at 01:00 UTC: the bin from 02:00 on holds the hour twice.
        ("2024-10-27 02:30", "2024-10-26 22:00", "2024-10-27 00:00"),
        ("2024-10-27 03:00", "2024-10-27 00:00", "2024-10-27 03:00"),
    ],
)
def test_health_is_right_when_clocks_change(shop, as_of, expected, following):
    """The last bin is the expected one, and nothing is late, on the days of daylight saving."""
    settings = {"time_zone": "Europe/Berlin", "grace_hours": 0, "history_years": 0.02}
    shop.pay(("DE", utc(as_of).to_pydatetime() - pd.Timedelta(days=2), 5))
    summary = shop.run(utc(as_of), **settings)
    with shop.parts(utc(as_of), **settings) as parts:
        assert expected_bin(parts, utc(as_of)) == utc(expected)
        assert last_bins(parts, utc(as_of)) == {"payments": utc(expected)}
    assert shop.values("DE").index[-1][1] == utc(expected)
    assert bin_end(pd.DatetimeIndex([utc(expected)]), "2h", "Europe/Berlin")[0] == utc(following)
    assert shop.notes() == []
    assert ">fresh<" in open(summary.report).read()  # noqa: PTH123, SIM115


@given(
    st.integers(0, 3 * 366 * 24 * 60),
    st.sampled_from(["1min", "30min", "1h", "90min", "3h"]),
    st.sampled_from(["Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "UTC"]),
)
def test_words_tell_any_two_bins_apart(minutes, later, zone):
    """Their clock time reads back as the instant, on the night when a clock shows it twice too."""
    ts = utc("2017-01-01") + pd.Timedelta(minutes=minutes)
    words = moment(ts, "1h", zone)
    assert words != moment(ts + pd.Timedelta(later), "1h", zone)
    shown, _, named = words.rpartition(" ")
    assert named == zone
    read = pd.Timestamp(shown)
    assert (read if read.tzinfo else read.tz_localize(zone)) == ts


def test_everything_shown_of_bins_is_on_the_operators_clock(shop):
    """The status, the table of what is held, the report and the messages name its zone."""
    zone = "America/Sao_Paulo"
    asked = {**shop.settings, "time_zone": zone, "measures_empty": "missing", "grace_hours": 0}
    shop.settings = {**asked, "history_years": 0.1}
    hours = pd.date_range("2019-11-01 00:00", "2019-11-03 23:00", freq="2h")
    shop.pay(*[("BR", at, 5) for at in hours.delete(5)])
    summary = shop.run(utc("2019-11-04 09:30"))
    missing, late = sorted(shop.notes(), key=len)
    assert missing == f"payments: 1 bin missing (2019-11-01 10:00 {zone})"
    assert late == (
        f"payments: the last bin is 2019-11-03 22:00 {zone}; 2019-11-04 04:00 {zone} was expected"
    )
    seen = tremor(shop.world, "status", **shop.settings)
    line = next(line for line in seen.out.splitlines() if line.lstrip().startswith("payments "))
    assert "2019-11-01 00:00 2019-11-03 22:00 2019-11-04 06:30" in line
    assert line.endswith(zone)
    table = tremor(
        shop.world, "status", "--quality", "--as-of", "2019-11-04 09:30", **shop.settings
    )
    assert table.out.count(f"Bins begin by the clock of {zone}.") == 1
    assert "2019-11-01 00:00  2019-11-03 22:00" in table.out
    assert "2019-11-01 10:00  1 bin missing: payments / BR" in table.out
    page = open(summary.report).read()  # noqa: PTH123, SIM115
    assert "<th>Data set</th><th>Last bin</th><th>Expected</th>" in page
    assert f"<td>2019-11-03 22:00 {zone}</td><td>2019-11-04 04:00 {zone}</td>" in page
    assert f"Bins begin by the clock of {zone}." in page
    assert "01:00 UTC" not in page


def test_an_hour_that_the_clock_shows_twice_is_told_apart(shop):
    """In messages and in the table, by the offset; other hours go without."""
    zone = "Europe/Berlin"
    shop.settings |= {"time_zone": zone, "interval": "1h", "measures_empty": "missing"}
    shop.settings |= {"measures_times": "UTC"}
    hours = pd.date_range("2024-10-26 00:30", "2024-10-27 11:30", freq="1h")
    shop.pay(*[("DE", at, 5) for at in hours[(hours.day == 26) | (hours.hour > 2)]])
    shop.run(utc("2024-10-27 12:10"), history_years=0.02)
    days = [f"2024-10-27 {at} {zone}" for at in ("02:00+02:00", "02:00+01:00", "03:00")]
    assert shop.notes() == [f"payments: 3 bins missing ({', '.join(days)})"]
    table = tremor(
        shop.world, "status", "--quality", "--as-of", "2024-10-27 12:10", **shop.settings
    )
    assert "2024-10-27 02:00+02:00 to 2024-10-27 03:00  3 bins missing" in table.out


def test_the_day_of_a_daily_bin_is_the_operators(shop):
    """East of Greenwich its start is of another date in UTC."""
    shop.settings |= {"time_zone": "Asia/Tokyo", "interval": "1d", "measures_empty": "missing"}
    shop.pay(*[("JP", f"2024-03-{day} 03:00", 5) for day in (28, 29, 31)])
    shop.run(utc("2024-03-31 16:00"), history_years=0.05)
    assert shop.notes() == ["payments: 1 bin missing (2024-03-30)"]


# Troubles


def test_a_server_that_is_away_is_told_once_and_caught_up_with(shop):
    """The first reason is told, not once a month of the history; then nothing is lost."""
    shop.pay(*[("DE", day, 5) for day in DAYS])
    away = f"postgresql://reader:sesame-42@127.0.0.1:{free_port()}/shop"
    summary = shop.run(sql_url=away, history_years=2)
    (reason, rest) = summary.failures
    assert "cannot be reached" in reason.message
    assert rest.message.startswith("not asked")
    assert shop.run(NOW + pd.Timedelta(minutes=5), sql_url=away).exit_code == 3
    (note,) = shop.notes()
    assert "cannot be reached" in note
    shop.run(NOW + pd.Timedelta(minutes=10))
    assert shop.values().sum() == 5 * len(DAYS)
    for path in (shop.world.folder / "var").rglob("*"):
        assert path.is_dir() or b"sesame-42" not in path.read_bytes(), path


@dataclass(frozen=True)
class Refusing(QuerySource):
    """A database that refuses its user, and counts how often it was asked."""

    name: ClassVar[str] = "refusing"
    asked: list = field(default_factory=list, kw_only=True)

    def rows(self, since, until):
        """Refuse."""
        self.asked.append(since)
        raise SourceError("payments: access refused. Correct the password.", "payments")
        yield


def test_a_refused_password_is_not_tried_for_every_month(shop):
    """Databases lock a user out who fails too often."""
    source = Refusing(Query("payments", QUERY, QUERY), "refusing://here", Binning())
    whole = CandleRequest("payments", "2h", utc("2023-01-01"), NOW, NOW)
    with shop.parts() as parts:
        refused = replace(parts, source=source)
        steps.fetch(refused, list(source.pieces(whole)))
        assert len(source.asked) == 1
        assert refused.run.failures[0].message == "access refused. Correct the password."


def test_a_month_that_fails_does_not_stop_the_others(shop):
    """A row that cannot be read costs its month; it is told, and the month comes when mended."""
    shop.pay(*[("DE", day, 5) for day in DAYS])
    shop.pay((" ", "2024-02-05 09:00", 3))
    assert shop.run().exit_code == 3
    assert "its series has no name" in shop.notes()[0]
    assert shop.values().sum() == 5 * sum(DAYS.month != 2)
    shop.run(NOW + pd.Timedelta(hours=2))
    assert len(shop.notes()) == 1


def test_names_of_series_cannot_write_the_page(shop):
    """Markup and control characters of the database stay text."""
    shop.pay(("<script>x</script>\x1b[31m\nDE", "2024-04-02 09:00", 5))
    summary = shop.run()
    page = open(summary.report).read()  # noqa: PTH123, SIM115
    assert "<script>x" not in page
    assert "\x1b" not in page
    assert "\x1b" not in tremor(shop.world, "status", "--quality", **shop.settings).out


# The command line


@pytest.fixture(scope="module")
def athena_url(tmp_path_factory):
    """The address of an Athena with a table of payments."""
    with athena_server(tmp_path_factory.mktemp("athena")) as url:
        yield url


@pytest.fixture(params=["files", "sql", "athena"])
def asked(request, world):
    """Settings of a run over a few payments of January and February 2024, of each source."""
    rows = [("DE", "2024-01-01 00:30", 10.5), ("FR", "2024-02-10 10:00", 4.0)]
    if request.param == "files":
        world.put("payments", pd.DataFrame(rows, columns=["country", "paid_at", "amount"]))
        meaning = world.folder / "measures.toml"
        meaning.write_text(
            '[payments]\nfiles = "payments.csv"\ntime = "paid_at"\nvalue = "amount"\n'
            'series = "country"\n'
        )
        return {"source": "files", "measures_file": meaning}
    if request.param == "sql":
        shop = opened_shop(world, request.getfixturevalue("make_postgres_url")())
        shop.pay(*rows)
        return shop.settings
    patch = request.getfixturevalue("monkeypatch")
    prepare_environment(patch, request.getfixturevalue("athena_url"))
    query = world.folder / "payments.sql"
    query.write_text(QUERY)
    return {
        "source": "athena",
        "measures_query": query,
        "athena_database": "shop",
        "athena_output": "s3://pay/results",
    }


def test_every_command_knows_payments(asked, world, make_postgres_url):
    """Run, run again, status, quality, replay into an empty warehouse; the judge's say so."""
    as_of = ("--as-of", "2024-03-02 10:30")
    asked = {**asked, "history_years": 0.2}
    first = tremor(world, "run", *as_of, **asked)
    assert first.code == 0, first
    n_new = int(first.out.partition("measures new ")[2].split(",")[0])
    assert n_new > 0
    again = tremor(world, "run", "--as-of", "2024-03-02 10:40", **asked)
    assert "measures new 0," in again.out, again
    status = json.loads(tremor(world, "status", "--json", **asked).out)
    (row,) = status["payments"]
    assert (row["data_set"], row["interval"]) == ("payments", "2h")
    assert row["series"] >= 2
    assert row["first"] == "2024-01-01 00:00"
    seen = tremor(world, "status", "--quality", "--json", *as_of, **asked)
    quality = json.loads(seen.out)
    assert quality["kind"] == "measures"
    assert {"payments / DE", "payments / FR"} <= {s["symbol"] for s in quality["symbols"]}
    # The page of what is held, made anew elsewhere from the raw layer alone.
    anew = {**asked, "warehouse_url": make_postgres_url()}
    replayed = tremor(world, "replay", **anew)
    assert replayed.code == 0, replayed
    there = json.loads(tremor(world, "status", "--quality", "--json", *as_of, **anew).out)
    assert there["symbols"] == quality["symbols"]
    filled = tremor(world, "backfill", "--since", "2023-12-15", **asked)
    assert filled.code == 0, filled
    assert "payment volumes" in tremor(world, "backtest", "--since", "2024-02-01", **asked).error
    assert "candles" in tremor(world, "evaluate", **asked).error


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (QUERY.partition(" and ")[0], "lacks :until"),
        ("delete from payments where paid_at > :since and paid_at < :until", "Begin it with SEL"),
    ],
)
def test_a_query_that_cannot_be_run_is_refused_before_anything_is_asked(shop, query, message):
    """In one line, with the file and the remedy."""
    shop.settings["measures_query"].write_text(query)
    assert message in tremor(shop.world, "run", **shop.settings).error


def test_a_column_that_is_not_there_is_told_in_the_databases_words(shop):
    """With the remedy; the run ends, and says that it is not whole."""
    shop.settings["measures_query"].write_text(QUERY.replace("amount", "money"))
    seen = tremor(shop.world, "run", "--as-of", "2024-03-02", **shop.settings)
    assert seen.code == 3
    (line,) = seen.said
    assert line == (
        'failed: payments: the query does not run (column "money" does not exist). Correct it.'
    )
