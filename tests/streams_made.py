"""Candles as a stream has them, and how a batch and a stream judge the same ones."""

from contextlib import contextmanager

import numpy as np
import pandas as pd

from components.feeds.base import COLUMNS, Arrived
from components.steps.judging import judge_all
from components.steps.stream_late import take_late
from components.steps.stream_start import begin
from components.tables import CANDLES
from components.wiring import open_parts
from tests.terminal import hurry, run_sql
from tests.worlds import World

MINUTE = pd.Timedelta(minutes=1)
LATENESS = 2 * MINUTE
FIRST = pd.Timestamp("2024-03-04 00:00", tz="UTC")
N_BARS = 1500
NAMES = tuple(f"{letter * 3}USDT" for letter in "ABCDEF")

# When one of them falls, and when all do; both far behind the beginning of the judgement.
FALL, CRASH = FIRST + 1300 * MINUTE, FIRST + 1400 * MINUTE
OUTAGE = FIRST + 900 * MINUTE, FIRST + 935 * MINUTE

# Of so short a history many more alerts than usual are asked for.
SETTINGS = {
    "interval": "1m",
    "symbols": ",".join(NAMES),
    "calendars": "",
    "alerts_per_week": 60,
    "history_years": 0.01,
}


def market(n_bars=N_BARS, first=FIRST, *, is_calm=False, seed=0):
    """Closed candles of six coins: an outage of all, one that starts late, one that ends."""
    random, tables = np.random.default_rng(seed), []
    ts = pd.date_range(first, periods=n_bars, freq=MINUTE, unit="us")
    shared = 0.0006 * random.standard_t(4, n_bars)
    for at, name in enumerate(NAMES):
        moves = shared + 0.0005 * random.standard_t(4, n_bars)
        volume = random.lognormal(3, 0.5, n_bars)
        if not is_calm:
            for fallen, size in ((ts == FALL) & (at == 1), 0.04), (ts == CRASH, 0.05):
                moves[fallen] -= size
                volume[fallen] *= 20
        tables.append(_candles(name, ts, moves, volume, random))
    rows = pd.concat(tables, ignore_index=True)
    if is_calm:
        return rows
    is_out = (rows["ts"] >= OUTAGE[0]) & (rows["ts"] < OUTAGE[1])
    is_early = (rows["symbol"] == NAMES[4]) & (rows["ts"] < first + 200 * MINUTE)
    is_gone = (rows["symbol"] == NAMES[5]) & (rows["ts"] >= first + 1350 * MINUTE)
    is_hole = random.random(len(rows)) < 0.01
    return rows[~(is_out | is_early | is_gone | is_hole)].reset_index(drop=True)


def _candles(name, ts, moves, volume, random):
    close = (100 * np.exp(np.cumsum(moves))).round(4)
    start = np.r_[100.0, close[:-1]]
    top, bottom = np.maximum(start, close), np.minimum(start, close)
    return pd.DataFrame(
        {
            "symbol": name,
            "ts": ts,
            "open": start,
            "high": (top * (1 + random.exponential(2e-4, len(ts)))).round(4),
            "low": (bottom * (1 - random.exponential(2e-4, len(ts)))).round(4),
            "close": close,
            "volume": volume.round(3),
            "vwap": np.nan,
            "trades": random.integers(1, 90, len(ts)).astype(float),
        }
    )[COLUMNS]


def known(candles):
    """The same candles minute by minute, each known as soon as it closed."""
    rows = candles.sort_values(["ts", "symbol"], ignore_index=True)
    return rows.assign(known_at=rows["ts"] + MINUTE)


def disordered(candles, seed=1, most_s=110, repeated=0.05):
    """The candles as they come, each up to so many seconds late, some of them twice."""
    random = np.random.default_rng(seed)
    again = candles.sample(frac=repeated, random_state=seed)
    rows = pd.concat([candles, again])
    came = rows["ts"] + MINUTE + pd.to_timedelta(random.integers(0, most_s, len(rows)), unit="s")
    return rows.assign(came=came).sort_values("came", kind="stable", ignore_index=True)


def arrivals(rows, n_pieces=30, seed=2):
    """The same in pieces of any size, each known when its last candle came."""
    cuts = np.sort(np.random.default_rng(seed).integers(0, len(rows), n_pieces - 1))
    for number, piece in enumerate(np.split(np.arange(len(rows)), cuts)):
        own = rows.iloc[piece]
        if "came" in own and len(own):
            at = own["came"].max()
            yield Arrived(own.drop(columns="came"), at, number)
        elif len(own):
            yield Arrived(own, (own["ts"] + MINUTE).max(), number)


def coins(world, **settings):
    """Let a world watch the six coins by the minute."""
    world.settings = {**SETTINGS, **settings}
    return world


def worlds(postgres_server, tmp_path_factory, name):
    """What makes worlds of six coins, each with a database of its own, for tests of a module."""
    hurry(postgres_server)
    made = iter(range(100))

    def make(**settings):
        database = f"{name}_{next(made)}"
        run_sql(postgres_server, f"create database {database}")
        url = postgres_server.replace("/postgres?", f"/{database}?")
        world = World(tmp_path_factory.mktemp(name), url)
        world.files.mkdir()
        return coins(world, **settings)

    return make


@contextmanager
def at_work(world, as_of=FIRST, **settings):
    """A stream that begins at ``as_of``, and its parts."""
    with open_parts(world.read_settings(**settings), as_of, command="stream") as parts:
        yield begin(parts, as_of, LATENESS)


def streamed(stream, pieces, *, is_over=True):
    """Let a stream take some arrivals; give what it says of each, and who was judged again."""
    taken, rebuilt, pieces = [], [], list(pieces)
    for at, arrived in enumerate(pieces):
        said = stream.take(arrived, is_over=is_over and at == len(pieces) - 1)
        rebuilt += take_late(stream, said.late)
        taken.append(said)
    return taken, rebuilt


def put(parts, candles):
    """Store candles as a batch finds them."""
    parts.warehouse.upsert(CANDLES, candles.assign(interval="1m", source="files", hours=None))


def batch(world, candles, as_of=None, **settings):
    """Judge all candles at once."""
    as_of = as_of or (candles["ts"].max() + MINUTE).ceil("s")
    with open_parts(world.read_settings(**settings), as_of) as parts:
        put(parts, candles if "known_at" in candles else known(candles))
        judge_all(parts, as_of)


LATEST = """
select * from (
    select *, row_number() over (partition by {key} order by known_at desc) as version from {table}
) v where version = 1 order by {key}
"""


def latest(world, table):
    """The latest versions of a table's rows, without when they became known."""
    key = ", ".join(f'"{name}"' for name in table.bar_key)
    rows = world.query(LATEST.format(key=key, table=table.name))
    return rows.drop(columns=["version", "known_at"])


def same(world, other, table):
    """Check that two worlds hold the same in a table, to the last bit; give the rows."""
    rows = latest(world, table)
    pd.testing.assert_frame_equal(rows, latest(other, table), check_exact=True)
    return rows
