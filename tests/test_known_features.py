"""When a row of features became known: a join on that instant never uses what came later.

Each example is a small market of which things become known one after another: bars, corrections,
bars that were missing, splits, findings of people and their withdrawal, markets.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from components import steps
from components.features import VERSION
from components.records import RunSummary
from components.scratch import scratch_lake
from components.steps.feature_rows import feature_rows, nothing_behind
from components.tables import ACTIONS, ALERTS, CANDLES, FEATURE_VALUES, INCIDENTS, LABELS
from components.wiring import open_parts
from tests.terminal import hurry, run_sql
from tests.worlds import DAY, World

# Five of the six make a market.
NAMES = ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF")
N_BARS = 60

# A bar that two of them lack at first, near enough to the end for its market to be looked for.
HOLE = 45
DAYS = pd.DatetimeIndex(pd.bdate_range("2024-01-02", periods=N_BARS + 8, tz="UTC"), freq=None)
BEGIN = pd.Timestamp("2024-06-01", tz="UTC")
HOUR = pd.Timedelta(hours=1)
KEY = ["symbol", "ts", "known_at"]


@dataclass(frozen=True)
class Event:
    """What becomes known of an instrument's bar; and what features are then asked for.

    Those of the bars from ``since`` on, of all instruments or of those that are ``asked``.
    """

    kind: str
    symbol: str
    bar: int
    value: float
    since: int
    asked: tuple[str, ...] = ()


events = st.lists(
    st.builds(
        Event,
        st.sampled_from(["bar", "correction", "split", "error", "no error", "market"]),
        st.sampled_from(NAMES[:3]),
        st.sampled_from([HOLE, HOLE + 1, 30]) | st.integers(5, N_BARS + 7),
        st.floats(0.8, 1.25).map(lambda x: round(x, 3)),
        st.sampled_from([0, 12, HOLE + 1, N_BARS - 1, N_BARS + 3]),
        st.sampled_from([(), (), ("AAA",), ("BBB", "CCC")]),
    ),
    min_size=1,
    max_size=6,
)


def candles():
    """All bars of all instruments, as they were first told."""
    tables = []
    for symbol in NAMES:
        random = np.random.default_rng([3, *symbol.encode()])
        close = 100 * np.exp(np.cumsum(0.01 * random.standard_t(5, len(DAYS))))
        open_ = np.r_[100.0, close[:-1]]
        rows = {"symbol": symbol, "interval": "1d", "ts": DAYS, "open": open_, "close": close}
        rows["high"], rows["low"] = np.maximum(open_, close) * 1.01, np.minimum(open_, close) * 0.99
        rows["volume"] = random.integers(1_000, 9_000, len(DAYS)).astype(float)
        tables.append(pd.DataFrame(rows))
    return pd.concat(tables, ignore_index=True).assign(source="files")


BARS = candles()

END = DAYS[-1] + DAY

# Not known at first: they come with an event, or never.
ABSENT = {("AAA", HOLE), ("BBB", HOLE), ("BBB", 30), ("CCC", 30)}

BEHIND = HOLE + 1

# A market that is stored once enough have their bar, beside one that still lacks it; and one
# whose bars behind a command's first are fewer than the others'.
MARKETS = [
    Event("market", "AAA", 5, 1.0, 0),
    Event("bar", "AAA", HOLE, 1.0, BEHIND),
    Event("market", "AAA", 5, 1.0, BEHIND),
    Event("bar", "AAA", 61, 1.0, BEHIND),
]

# A correction of the very bar behind which a command goes on.
LAST_CARRIED = [
    Event("market", "CCC", 5, 1.0, BEHIND),
    Event("correction", "CCC", HOLE, 1.1, BEHIND),
]

# A correction of one while another was asked for.
ONE_ASKED = [
    Event("market", "CCC", 5, 1.0, BEHIND),
    Event("correction", "BBB", 15, 1.1, BEHIND, ("AAA",)),
    Event("bar", "CCC", 61, 1.0, BEHIND),
]

# A finding that is taken back.
FINDINGS = [Event("error", "CCC", 25, 1.0, 12), Event("no error", "CCC", 25, 1.0, 12)]


@pytest.fixture(scope="module")
def room(tmp_path_factory, postgres_server):
    """The parts of commands over one database, emptied for each example."""
    hurry(postgres_server)
    run_sql(postgres_server, "create database known")
    url = postgres_server.replace("/postgres?", "/known?")
    world = World(tmp_path_factory.mktemp("room"), url)
    named = world.read_settings(source="yahoo", symbols=",".join(NAMES))
    with open_parts(named, BEGIN, command="features") as parts:
        yield parts


def emptied(parts):
    for table in ("candles", "actions", "alerts", "incidents", "labels", "market", "features"):
        parts.warehouse.execute(f"truncate {table}")
    parts = replace(parts, lake=scratch_lake())
    place = np.tile(np.arange(len(DAYS)), len(NAMES))
    is_absent = [(s, n) in ABSENT for s, n in zip(BARS["symbol"], place, strict=True)]
    first = BARS[(place < N_BARS) & ~np.array(is_absent)]
    parts.warehouse.upsert(CANDLES, first.assign(known_at=BEGIN))
    return parts


def at(parts, as_of):
    """The same stores at another instant."""
    return replace(parts, run=RunSummary("features", "features", as_of, started_at=parts.clock()))


def happen(parts, event, known_at):
    """Let something become known."""
    ts, warehouse = DAYS[event.bar], parts.warehouse
    if event.kind in ("bar", "correction"):
        row = BARS[(BARS["symbol"] == event.symbol) & (BARS["ts"] == ts)].assign(known_at=known_at)
        if event.kind == "correction":
            row = row.assign(close=row["close"] * event.value, high=row["high"] * 1.3)
        warehouse.upsert(CANDLES, row)
    elif event.kind == "split":
        row = {"symbol": event.symbol, "kind": "split", "ts": ts, "value": 2.0, "source": "x"}
        warehouse.upsert(ACTIONS, pd.DataFrame([{**row, "known_at": known_at}]))
    elif event.kind == "market":
        steps.market(at(parts, known_at), known_at)
    else:
        alert = f"{event.symbol}{event.bar}"
        told = {"alert_id": alert, "kind": "anomaly", "symbol": event.symbol, "interval": "1d"}
        told |= {"id": alert, "ts": ts, "incident": alert, "known_at": BEGIN}
        warehouse.upsert(INCIDENTS, pd.DataFrame([told]))
        names = ["id", "kind", "interval", "ts", "known_at"]
        warehouse.upsert(ALERTS, pd.DataFrame([{name: told[name] for name in names}]))
        label = "data-error" if event.kind == "error" else "confirmed"
        said = {"alert_id": alert, "symbol": event.symbol, "action": "label", "label": label}
        warehouse.upsert(LABELS, pd.DataFrame([{**said, "made_at": known_at}]))


def computed(parts, as_of):
    """All rows as a run at an instant computes them; nothing is stored."""
    then = at(parts, as_of)
    then.run.counts["bars_read"] = 0
    ((_, rows),) = feature_rows(then, nothing_behind(NAMES), [(DAYS[0], END)], DAYS[0])
    return rows.sort_values(KEY, ignore_index=True)


def in_files(parts):
    """All rows of the Parquet files."""
    keys = parts.lake.objects.list("features/")
    files = [pq.read_table(pa.BufferReader(parts.lake.objects.get(key))) for key in keys]
    rows = pa.concat_tables(files).to_pandas()
    return rows.assign(interval="1d", version=VERSION).sort_values(KEY)


def assert_alike(found, expected):
    columns = [name for name in FEATURE_VALUES.columns if name in expected]
    pd.testing.assert_frame_equal(
        found[columns].reset_index(drop=True),
        expected[columns].reset_index(drop=True),
        check_exact=True,
    )


@settings(max_examples=12, deadline=None)
@given(events=events)
@example(events=MARKETS)
@example(events=FINDINGS)
@example(events=LAST_CARRIED)
@example(events=ONE_ASKED)
def test_what_is_known_by_an_instant_is_what_a_run_at_that_instant_computes(events, room):
    """A row whose ``known_at`` has come has the values that it had then; the others had not."""
    parts = emptied(room)
    instants = [BEGIN + n * HOUR for n in range(len(events) + 1)]
    for event, instant in zip(events, instants[1:], strict=True):
        happen(parts, event, instant)
    whole = computed(parts, instants[-1])
    assert whole["known_at"].max() <= instants[-1]
    for instant in instants:
        then = computed(parts, instant)
        known = whole[whole["known_at"] <= instant]
        in_both = then.merge(known[KEY], on=KEY)
        assert_alike(in_both.sort_values(KEY), known.sort_values(KEY))


@settings(max_examples=8, deadline=None)
@given(events=events)
@example(events=MARKETS)
@example(events=FINDINGS)
@example(events=LAST_CARRIED)
@example(events=ONE_ASKED)
def test_a_command_after_each_event_keeps_what_was_known_at_each_instant(events, room):
    """As of any instant the table has what a run at that instant computes from the first bar.

    The commands ask for other spans, and go on from what those before them carried. The lake
    has the same rows.
    """
    parts = emptied(room)
    instants = [BEGIN + n * HOUR for n in range(len(events) + 1)]
    steps.features(at(parts, BEGIN), DAYS[0], END)
    for event, instant in zip(events, instants[1:], strict=True):
        happen(parts, event, instant)
        steps.features(at(parts, instant), DAYS[event.since], END, event.asked)
    for event, instant in zip(events, instants[1:], strict=True):
        since, symbols = DAYS[event.since], event.asked or NAMES
        then = computed(parts, instant).drop(columns="known_at")
        then = then[(then["ts"] >= since) & then["symbol"].isin(symbols)]
        held = parts.warehouse.read(FEATURE_VALUES, as_of=instant, since=since, symbols=symbols)
        assert_alike(held.drop(columns="known_at"), then)
    rows = parts.warehouse.query("select * from features order by symbol, ts, known_at")
    assert_alike(in_files(parts), rows)
