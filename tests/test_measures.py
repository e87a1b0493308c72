"""Payment volumes: months asked for once, rows into bins, queries that are refused."""

import pickle
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.bins import bin_start
from components.errors import SettingsError, SourceFormatError, SymbolNotFound
from components.records import CandleRequest
from components.sources.placeholders import prepared
from components.sources.queries import Binning, Query, QuerySource, read_query
from components.words import clean

TEXT = "select country as series, paid_at as ts, amount as value from payments"
ZONES = ("Europe/Berlin", "America/Sao_Paulo", "Asia/Kolkata", "UTC")


@dataclass(frozen=True)
class Given(QuerySource):
    """A database that is a list: rows of columns, handed out in parts."""

    name: ClassVar[str] = "given"
    columns: tuple = ("series", "ts", "value")
    table: tuple = field(default=(), kw_only=True)

    def rows(self, since, until):
        """Give two rows at a time."""
        yield self.columns, ()
        for first in range(0, len(self.table), 2):
            yield self.columns, self.table[first : first + 2]


def source_of(*table, columns=("series", "ts", "value"), **more):
    return Given(
        Query("payments", TEXT, TEXT), "given://here", columns=columns, table=table, **more
    )


def ts(text, zone="UTC"):
    return pd.Timestamp(text, tz=zone).tz_convert("UTC")


def wall(text):
    """A time as a database without offsets gives it."""
    return datetime.fromisoformat(text)


def request_of(
    since="2024-01-01", until="2024-02-01", as_of="2024-06-01", interval="2h", zone="UTC"
):
    return CandleRequest("payments", interval, ts(since, zone), ts(until, zone), ts(as_of, zone))


def measured(*table, request=None, columns=("series", "ts", "value"), **more):
    source = source_of(*table, columns=columns, **more)
    return source.parse(source.fetch(request or request_of())).measures


def nonzero(measures):
    rows = measures[measures["value"] != 0]
    return [
        (name, f"{at:%Y-%m-%d %H:%M}", value) for name, at, value, _ in rows.itertuples(index=False)
    ]


AT = wall("2024-01-05")


# Months


@given(
    st.sampled_from(ZONES),
    st.sampled_from(["15m", "2h", "1d"]),
    st.integers(0, 60_000),
    st.integers(0, 20_000),
    st.integers(-1000, 20_000),
    st.integers(0, 60),
)
def test_months_cover_the_span_exactly(zone, interval, start, hours, later, days):
    """Every month of the span is asked for, the last one included, and no instant twice."""
    since = ts("2015-01-01") + pd.Timedelta(hours=start)
    until = since + pd.Timedelta(hours=hours)
    as_of = until + pd.Timedelta(hours=later, minutes=7)
    source = source_of(binning=Binning(zone), settle_days=days)
    request = CandleRequest("payments", interval, since, until, as_of)
    pieces = source.pieces(request)
    closed = bin_start(pd.DatetimeIndex([as_of]), interval, zone)[0]
    if min(until, closed) <= since:
        assert pieces == ()
        return
    assert pieces[0].since == since
    # Of a bin under way what there is is asked for: nothing later than the run's instant.
    assert pieces[-1].until == min(until, as_of)
    for one, following in pairwise(pieces):
        assert one.until == following.since
    for piece in pieces:
        assert piece.since < piece.until
        assert piece.as_of == as_of
        first, last = (
            at.tz_convert(zone) for at in (piece.since, piece.until - pd.Timedelta("1us"))
        )
        assert (first.year, first.month) == (last.year, last.month)
        if piece.name:
            assert piece.until + pd.Timedelta(days=days) <= as_of
    assert source.pieces(request) == pieces


def test_the_open_month_ends_at_the_instant_of_the_run():
    """A bin that is still filling up is asked for, for a nowcast; the month has no name yet."""
    pieces = source_of().pieces(request_of(until="2024-06-15", as_of="2024-03-15 13:30"))
    assert [piece.until for piece in pieces] == [
        ts("2024-02-01"),
        ts("2024-03-01"),
        ts("2024-03-15 13:30"),
    ]
    assert [bool(piece.name) for piece in pieces] == [True, True, False]


def test_a_month_has_a_name_only_when_it_has_settled():
    """What is booked late changes a month: until some days after its end it is asked for again."""
    for as_of, is_named in [("2024-02-03 23:00", False), ("2024-02-04 00:00", True)]:
        (piece,) = source_of().pieces(request_of(as_of=as_of))
        assert bool(piece.name) == is_named
        reply = source_of().fetch(piece)
        assert reply.status == (200 if is_named else 206)
        assert ("absent" in reply.details) != is_named
    (now,) = source_of(settle_days=0).pieces(request_of(as_of="2024-02-01"))
    assert now.name
    (open_one,) = source_of(settle_days=0).pieces(request_of(as_of="2024-01-20"))
    assert not open_one.name


def test_a_name_is_made_of_all_that_the_result_depends_on():
    """Another query, place, span or zone of times is another object; another day is not."""
    source = source_of()
    (piece,) = source.pieces(request_of())
    others = [
        replace(source, query=replace(source.query, text=TEXT + " where true")),
        replace(source, place="given://there"),
        replace(source, binning=Binning(times="Europe/Berlin")),
        replace(source, query=replace(source.query, name="refunds")),
    ]
    names = {piece.name, *(other.kept_name(piece) for other in others)}
    names |= {source.kept_name(replace(piece, since=ts("2024-01-02")))}
    assert len(names) == 6
    assert all(len(name) == 64 for name in names)
    assert source.kept_name(replace(piece, as_of=ts("2025-01-01"))) == piece.name
    assert source.kept_name(replace(piece, as_of=ts("2024-02-02"))) is None


# Rows


def test_rows_are_summed_into_the_operators_bins():
    """Any granularity: single payments and sums of minutes alike."""
    got = measured(
        ("DE", wall("2024-01-01 00:00:00"), 1.5),
        ("DE", wall("2024-01-01 01:59:59.999999"), 2.25),
        ("FR", wall("2024-01-01 02:00:00"), 4),
        ("DE", wall("2024-01-31 23:59:00"), -1.0),
    )
    assert list(got.columns) == ["series", "ts", "value", "line"]
    assert nonzero(got) == [
        ("DE", "2024-01-01 00:00", 3.75),
        ("DE", "2024-01-31 22:00", -1.0),
        ("FR", "2024-01-01 02:00", 4.0),
    ]
    assert len(got) == 2 * 31 * 12
    assert got["line"].is_unique
    assert str(got["ts"].dtype) == "datetime64[us, UTC]"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["DE", "FR", "BR"]),
            st.integers(0, 31 * 24 * 3600 - 7200),
            st.integers(-1000, 1000),
        ),
        max_size=30,
    ),
    st.sampled_from(ZONES),
    st.randoms(),
)
def test_no_money_is_lost_and_order_does_not_matter(rows, zone, random):
    """The bins of a month add up to its rows, and the same rows give the same bytes."""
    since = ts("2024-01-01", zone)
    table = [
        (name, (since + pd.Timedelta(seconds=at)).to_pydatetime(), amount)
        for name, at, amount in rows
    ]
    request = request_of(zone=zone)
    source = source_of(*table, binning=Binning(zone))
    reply = source.fetch(request)
    measures = source.parse(reply).measures
    assert measures["value"].sum() == sum(amount for _, _, amount in rows)
    random.shuffle(table)
    assert source_of(*table, binning=Binning(zone)).fetch(request).body == reply.body
    again = source.parse(pickle.loads(pickle.dumps(reply))).measures
    pd.testing.assert_frame_equal(measures, again)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200), st.randoms())
def test_a_sum_has_the_same_bits_in_any_order(amounts, random):
    """Else a table that was written in another order would change every bin of a past month."""
    series = pd.Series(["DE"] * len(amounts), dtype="str")
    at = pd.DatetimeIndex([ts("2024-01-05")] * len(amounts)).as_unit("us")
    first = Binning().measures(series, at, np.array(amounts), request_of())
    random.shuffle(amounts)
    again = Binning().measures(series, at, np.array(amounts), request_of())
    pd.testing.assert_frame_equal(first, again, check_exact=True)
    assert first["value"].sum() == pytest.approx(sum(amounts), abs=1e-6)


def test_an_empty_bin_is_zero_or_absent_as_the_operator_says():
    """No payment in two hours is a fact in one business, and a gap in another."""
    row = ("DE", wall("2024-01-05 10:00:00"), 7.0)
    assert len(measured(row)) == 31 * 12
    assert len(measured(row, binning=Binning(empty="missing"))) == 1


def test_an_only_series_is_named_by_the_data_set():
    """Without a column series there is one, known even when nothing was paid."""
    got = measured((wall("2024-01-05 10:00:00"), 7.0), columns=("TS", "Value"))
    assert set(got["series"]) == {"payments"}
    empty = measured(columns=("time", "VALUE"))
    assert len(empty) == 31 * 12
    assert (empty["value"] == 0).all()
    assert measured().empty


def test_times_of_every_kind_are_read():
    """With an offset, without one (of the zone of the settings), dates, and text."""
    berlin = Binning("Europe/Berlin", "Europe/Berlin")
    got = measured(
        ("aware", datetime(2024, 1, 5, 9, 30, tzinfo=UTC), 1),
        ("offset", datetime(2024, 1, 5, 4, 30, tzinfo=timezone(timedelta(hours=-5))), 1),
        ("local", wall("2024-01-05 10:30:00"), 1),
        ("date", date(2024, 1, 5), 1),
        ("text", "2024-01-05T09:30:00Z", 1),
        ("athena", "2024-01-05 09:30:00.000 UTC", 1),
        request=request_of(zone="Europe/Berlin"),
        binning=berlin,
    )
    assert nonzero(got) == [
        ("athena", "2024-01-05 09:00", 1),
        ("aware", "2024-01-05 09:00", 1),
        ("date", "2024-01-04 23:00", 1),
        ("local", "2024-01-05 09:00", 1),
        ("offset", "2024-01-05 09:00", 1),
        ("text", "2024-01-05 09:00", 1),
    ]


def test_the_repeated_hour_is_counted_whole():
    """On the day when clocks go back the bin from 02:00 on holds three real hours."""
    berlin = Binning("Europe/Berlin", "UTC")
    table = [("DE", wall(f"2024-10-27 {hour:02}:30"), 1) for hour in range(4)]
    request = request_of("2024-10-01", "2024-11-01", "2025-01-01", zone="Europe/Berlin")
    got = measured(*table, request=request, binning=berlin)
    assert nonzero(got) == [("DE", "2024-10-27 00:00", 3), ("DE", "2024-10-27 03:00", 1)]


def test_amounts_of_every_kind_are_read():
    """Decimals, integers, text and NULL, which is no payment."""
    got = measured(
        ("a", AT, Decimal("10.10")),
        ("a", AT, Decimal("-0.10")),
        ("b", AT, 2**53),
        ("c", AT, "7.5"),
        ("d", AT, None),
        ("e", AT, 1e-300),
    )
    assert nonzero(got) == [
        ("a", "2024-01-05 00:00", 10.0),
        ("b", "2024-01-05 00:00", float(2**53)),
        ("c", "2024-01-05 00:00", 7.5),
        ("e", "2024-01-05 00:00", 1e-300),
    ]
    assert "d" in set(got["series"])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("DE", None, 1.0), r"row 1 .*'DE'.* is no time.*never NULL"),
        (("DE", "yesterday", 1.0), "'yesterday' is no time"),
        (("DE", "0000-00-00 00:00:00", 1.0), "is no time"),
        (("DE", 1704067200, 1.0), "'1704067200' is no time"),
        (("DE", "20240105", 1.0), "'20240105' is no time"),
        (("DE", timedelta(hours=3), 1.0), "'3:00:00' is no time"),
        (("DE", AT, "12,50"), r"row 1 .*'12,50' is no number.*decimal"),
        (("DE", AT, float("nan")), "'nan' is no number"),
        (("DE", AT, float("inf")), "'inf' is no number"),
        (("DE", AT, True), "'True' is no number"),
        (("DE", AT, b"12"), "is no number"),
        ((None, AT, 1.0), r"its series has no name.*coalesce"),
        (("\n\x00 ", AT, 1.0), "its series has no name"),
        (("x" * 201, AT, 1.0), "longer than 200"),
        (("DE", wall("2023-12-31 23:00:00"), 1.0), r"outside the month .*TREMOR_MEASURES_TIMES"),
        (("DE", wall("2024-02-01 00:00:01"), 1.0), "outside the month"),
        (("DE", wall("9999-12-31 00:00:00"), 1.0), "outside the month"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(row, message):
    """With its place, what it says, and what to write in the query instead."""
    with pytest.raises(SourceFormatError, match=message) as caught:
        measured(row)
    assert caught.value.symbol == "payments"
    assert "\n" not in str(caught.value)


def test_a_sum_beyond_all_numbers_is_refused():
    """Infinity would be judged as any other volume."""
    with pytest.raises(SourceFormatError, match="too large for a number"):
        measured(("DE", AT, 1e308), ("DE", AT, 1e308))


def test_a_row_at_the_very_end_belongs_to_the_next_month():
    """BETWEEN includes both ends; the next month's query brings that row."""
    assert nonzero(measured(("DE", wall("2024-02-01 00:00:00"), 1.0), ("DE", AT, 2.0))) == [
        ("DE", "2024-01-05 00:00", 2.0)
    ]


def test_bins_cut_by_the_span_are_left_out():
    """A request from the middle of a bin on gives none for that bin; its hour may begin before."""
    request = request_of(since="2024-01-05 03:30")
    got = measured(
        ("DE", wall("2024-01-05 03:00:00"), 1.0),
        ("DE", wall("2024-01-05 04:00:00"), 2.0),
        request=request,
    )
    assert got["ts"].min() == ts("2024-01-05 04:00")
    assert nonzero(got) == [("DE", "2024-01-05 04:00", 2.0)]


@given(st.text(max_size=300), st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_names_of_series_are_harmless_or_refused(name, value):
    """Whatever text a table holds: one line, no control character, at most 200 long."""
    tidy = clean(name, 1000)
    rows = [(name, AT, value), ("sure", AT, 1.0)]
    if not 0 < len(tidy) <= 200:
        with pytest.raises(SourceFormatError, match="series has no name"):
            measured(*rows)
        return
    got = measured(*rows)
    assert set(got["series"]) == {tidy, "sure"}
    assert np.isclose(got["value"].sum(), value + 1.0)


def test_too_many_series_are_refused():
    """A column of customers in place of countries would fill the warehouse with zeros."""
    rows = [(f"user {n}", AT, 1.0) for n in range(5_001)]
    with pytest.raises(SourceFormatError, match=r"5,001 series.*coarser"):
        measured(*rows)


@pytest.mark.parametrize(
    "columns", [("a", "b"), ("ts", "amount"), ("ts", "time", "value"), ("value", "VALUE", "ts")]
)
def test_columns_that_cannot_be_told_are_listed(columns):
    """With how to name them in the query."""
    with pytest.raises(
        SourceFormatError, match=f"gives the columns {', '.join(columns)}; expected"
    ):
        measured(columns=columns)


def test_a_damaged_reply_is_told():
    """The lake's object can be removed; then it is asked for again."""
    source = source_of()
    reply = source.fetch(request_of())
    for body in (b"", b"a,b\n1,2\n", b'ts,value\n"', b"\xff\xfe\x00"):
        with pytest.raises(SourceFormatError, match="damaged"):
            source.parse(replace(reply, body=body))


def test_another_data_set_is_not_found():
    """One query is one data set."""
    with pytest.raises(SymbolNotFound, match=r"called payments\. Leave TREMOR_SYMBOLS unset"):
        source_of().fetch(replace(request_of(), symbol="refunds"))


# The text of a query

GOOD = "select paid_at as ts, amount as value from t where paid_at >= :since and paid_at < :until"


@pytest.mark.parametrize("dialect", ["athena", "mysql", "postgresql"])
def test_placeholders_become_parameters(dialect):
    """A driver fills them in; per cent signs and casts stay what they were."""
    text = GOOD + " and a like '10%:since' -- :until\n and b::text = '%' ;\n -- end;\n"
    got = prepared(text, dialect, "q.sql")
    assert got.count("%(since)s") == got.count("%(until)s") == 1
    written = got % {"since": "S", "until": "U"}
    assert written == text[: text.index(" ;")].replace(">= :since", ">= S").replace(
        "< :until", "< U"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("select 1", "lacks :since and :until.*month by month"),
        ("select 1 where a >= :since", "lacks :until"),
        ("select ':since', /* :until */ 1 where a >= :since", "lacks :until"),
        ("select 1 where a >= :since -- < :until", "lacks :until"),
        ("select 1 where a >= :since and a < :until_then", "lacks :until"),
        ("select x::since, y::until", "lacks"),
        (GOOD + "; drop table t", "more than one statement"),
        (GOOD + "; select 1;", "more than one statement"),
        ("delete from t where a >= :since and a < :until", "no query that reads"),
        ("/* select */ drop table t -- :since\n where :since < :until", "no query that reads"),
        ("set x = :since; commit; select :until", "more than one statement"),
        (GOOD.replace("from t", "into outfile '/tmp/x' from t"), "INTO writes"),
        ("", "lacks :since and :until"),
    ],
)
@pytest.mark.parametrize("dialect", ["athena", "mysql", "postgresql"])
def test_a_query_that_cannot_be_run_month_by_month_is_refused(text, message, dialect):
    """Before anything is sent, with the file's name and the remedy."""
    with pytest.raises(SettingsError, match=f"q.sql: .*{message}"):
        prepared(text, dialect, "q.sql")


def test_each_databases_strings_are_known():
    """Dollar quotes of PostgreSQL, backslashes and # of MySQL: nothing in them counts."""
    dollar = GOOD + " and a = $x$ :since ; $x$"
    assert prepared(dollar, "postgresql", "q").count("%(since)s") == 1
    escaped = GOOD + r" and a = 'it\'s :since;' # :until ; "
    assert prepared(escaped, "mysql", "q").count("%(since)s") == 1
    plain = GOOD + r" and a = '\' and b > :since"
    assert prepared(plain, "postgresql", "q").count("%(since)s") == 2
    e_string = GOOD + r" and a = E'it\'s :since;'"
    assert prepared(e_string, "postgresql", "q").count("%(since)s") == 1
    assert prepared("( " + GOOD + " )", "athena", "q").startswith("( select")
    assert prepared("with x as (select 1) " + GOOD + " and a = 'x;'", "athena", "q").endswith(
        "'x;'"
    )


@given(st.text(alphabet="':;-/*%$\"\\\n ab`#", max_size=40))
def test_no_text_of_a_query_breaks_its_reading(text):
    """Whatever stands in it: refused with words, or every other character is kept."""
    for dialect in ("athena", "mysql", "postgresql"):
        try:
            got = prepared(GOOD + " " + text, dialect, "q")
        except SettingsError:
            continue
        written = got % {"since": ":since", "until": ":until"}
        assert (GOOD + " " + text).startswith(written)


def test_a_query_file_is_read_with_its_name(tmp_path):
    """The file's name is the data set's; what is wrong with the file is told."""
    path = tmp_path / "card_payments.sql"
    path.write_text("\ufeff" + GOOD + "  \n")
    query = read_query(path, "postgresql")
    assert (query.name, query.text) == ("card_payments", GOOD)
    path.write_text(GOOD)
    assert read_query(path, "postgresql") == query
    with pytest.raises(SettingsError, match="Set TREMOR_MEASURES_QUERY to a file"):
        read_query(None, "athena")
    with pytest.raises(SettingsError, match=r"nosuch\.sql: .*No such file"):
        read_query(tmp_path / "nosuch.sql", "athena")
    (tmp_path / "bad.sql").write_bytes(b"\xff\xfe\x00select")
    with pytest.raises(SettingsError, match="no UTF-8 text"):
        read_query(tmp_path / "bad.sql", "athena")
    (tmp_path / "my query.sql").write_text(GOOD)
    with pytest.raises(SettingsError, match="the file's name is the data set's: rename it"):
        read_query(tmp_path / "my query.sql", "athena")
