"""How a stream begins, and begins again: behind all that is stored."""

import numpy as np
import pandas as pd

from components.carried import Snapshot, State
from components.features.window import WINDOW
from components.gaps import with_steps
from components.market import run_market, start_market
from components.panels import pack
from components.sessions import ALWAYS_OPEN
from components.steps.carrying import latest_ledger, read_group, snapshot_key
from components.steps.judging import judge_all
from components.steps.market import stored_market
from components.steps.parts import Parts
from components.steps.splits import with_splits
from components.steps.stream import Carried, Stream, blank
from components.streaming.judge import StreamJudge, StreamState
from components.streaming.market_scan import CARRIED, MarketState, start_scan
from components.streaming.ordering import KEY, NEVER, Pending

# The last bars of each instrument, those of extended hours left out.
TAILS = """
select tail.* from unnest(%(symbols)s::text[]) as wanted (symbol), lateral (
    select distinct on (symbol, "interval", ts) symbol, ts, close, volume from all_candles
    where symbol = wanted.symbol and "interval" = %(interval)s and known_at <= %(as_of)s
      and hours is distinct from 'extended'
    order by symbol desc, "interval" desc, ts desc, known_at desc limit %(n_bars)s
) as tail
"""

NEWEST = """
select max(known_at) as known_at from all_candles
where "interval" = %(interval)s and known_at > %(after)s
"""

EPOCH = pd.Timestamp(0, tz="UTC")


def begin(
    parts: Parts, as_of: pd.Timestamp, lateness: pd.Timedelta, *, stores_candles: bool = True
) -> Stream:
    """Judge what is stored and was not judged, as a batch does, and go on from there.

    Parameters
    ----------
    as_of : Timestamp
        The instant of the start. What is stored and known later, by another machine's clock,
        puts it off.
    """
    ahead = newest_known(parts, as_of)
    as_of = (as_of if ahead is None else ahead).ceil("s")
    symbols = tuple(sorted(parts.watch.symbols))
    _file_unkept(parts, symbols, as_of)
    judge_all(parts, as_of)
    found = latest_ledger(parts, as_of, symbols)
    ledger = blank(parts) if found is None else found[1]
    judge = StreamJudge(parts.ensemble, parts.calendars, parts.watch.interval, symbols)
    state = StreamState(
        _state(parts, judge, ledger),
        {name: market_state(parts, judge, name, as_of) for name in judge.members},
    )
    pending = {name: _nothing_waits(judge, state, name) for name in judge.members}
    carried = Carried(state, ledger, pending)
    return Stream(parts, carried, lateness, as_of, stores_candles=stores_candles)


def _file_unkept(parts: Parts, symbols: tuple[str, ...], as_of: pd.Timestamp) -> None:
    """Put what came after the state was last kept into the processed layer: a crash kept it off."""
    found = parts.lake.latest_state(snapshot_key(parts), as_of)
    if found is not None:
        interval = parts.watch.interval
        rows = parts.warehouse.changed_since(found[0], as_of, list(symbols), interval)
        if len(rows):
            parts.lake.put_candles(rows)


def newest_known(parts: Parts, after: pd.Timestamp = EPOCH) -> pd.Timestamp | None:
    """When the newest stored candle became known; None without any that was after ``after``."""
    asked = {"interval": parts.watch.interval, "after": after.to_pydatetime()}
    found = parts.warehouse.query(NEWEST, asked)["known_at"].iloc[0]
    return None if pd.isna(found) else pd.Timestamp(found)


def _state(parts: Parts, judge: StreamJudge, ledger: Snapshot) -> State:
    """What the ensemble carries of each instrument, in the judge's order."""
    state = {k: a.copy() for k, a in parts.ensemble.start(len(judge.symbols)).items()}
    index = pd.Index(judge.symbols)
    for group in np.unique(ledger.take(judge.symbols).state["group"]):
        held = read_group(parts, ledger, int(group))
        own = () if held is None else tuple(s for s in held.symbols if s in index)
        if held is not None and own:
            at = index.get_indexer(pd.Index(own))
            for name, values in held.take(own).state.items():
                state[name][at] = values
    return state


def market_state(
    parts: Parts, judge: StreamJudge, calendar: str, as_of: pd.Timestamp
) -> MarketState:
    """What a market carries behind all that is stored."""
    members = judge.members[calendar]
    tails = last_bars(parts, members, as_of)
    blank_state = start_scan(len(members))
    stored = stored_market(parts, [calendar])
    if not len(stored):
        return MarketState(*tails, blank_state.last, blank_state.judge)
    moves = stored["return"].to_numpy(dtype=float)
    steps = with_steps(judge.calendars, judge.interval, stored.assign(symbol=members[0]))["steps"]
    rate = parts.ensemble.alerts_per_year / judge.calendars.bars_per_year(
        members[0], judge.interval
    )
    carried, _ = run_market(start_market(), moves, rate, steps.to_numpy(dtype=float))
    last = stored["ts"].iloc[-1].tz_convert(None).to_datetime64().astype("datetime64[us]")
    return MarketState(*tails, last, carried)


def last_bars(
    parts: Parts, members: tuple[str, ...], as_of: pd.Timestamp
) -> tuple[np.ndarray, np.ndarray]:
    """The last bars of each member as ``MarketState`` carries them: ts, fields."""
    rows = parts.warehouse.query(
        TAILS,
        {
            "symbols": list(members),
            "interval": parts.watch.interval,
            "as_of": as_of.to_pydatetime(),
            "n_bars": WINDOW,
        },
    )
    empty = start_scan(len(members))
    if not len(rows):
        return empty.ts, empty.fields
    if all(parts.calendars.of(symbol) == ALWAYS_OPEN for symbol in members):
        rows = rows.assign(split=1.0)
    else:
        rows = with_splits(parts, rows, as_of)
    panel = pack(rows, members)
    ts, fields = empty.ts.copy(), empty.fields.copy()
    n_bars = panel.ts.shape[1]
    ts[:, WINDOW - n_bars :] = panel.ts
    fields[:, WINDOW - n_bars :] = panel.fields[:, :, CARRIED]
    return ts, fields


def _nothing_waits(judge: StreamJudge, state: StreamState, calendar: str) -> Pending:
    members = pd.Index(judge.symbols).get_indexer(pd.Index(judge.members[calendar]))
    last = state.judge["last_ts"][members]
    last = last[~np.isnat(last)]
    released = int(last.max().astype("datetime64[us]").astype(np.int64)) if len(last) else NEVER
    whole = (*KEY, "number", "came")
    nothing = pd.DataFrame({name: np.empty(0, dtype=np.int64) for name in whole})
    return Pending(nothing, released, released)
