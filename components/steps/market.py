"""Market: what the watched instruments of each calendar did together, stored before judging."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from components.market import is_same_time, judge_market, medians, returns, spans, volumes
from components.sessions import length
from components.steps.carrying import watched_lately
from components.steps.gaps import regular, with_steps
from components.steps.known import later
from components.steps.parts import Parts
from components.steps.splits import with_splits
from components.tables import CANDLES, MARKET

# Members whose candles are read together, so that memory stays bounded.
TOGETHER = 250

# How far back a bar is looked for that its market lacks, and the close before it.
RECENT = pd.Timedelta(days=31)

# Bars read before those: the volumes that a volume is compared with, over nights and holidays.
BARS_BEFORE = 20

# Each market from a bar on, and the bar before it, from which the first return is.
STORED_SINCE = """
select m.watch_list, m.ts, m."return" as market, m.volume as market_volume, m.known_at
from unnest(%(calendars)s::text[]) as c(name)
cross join lateral (
    select coalesce(max(ts), %(since)s) as ts from market
    where watch_list = c.name and "interval" = %(interval)s and ts < %(since)s
      and known_at <= %(as_of)s
) as first
join market as m
    on m.watch_list = c.name and m."interval" = %(interval)s and m.ts >= first.ts
    and m.ts <= %(until)s and m.known_at <= %(as_of)s
order by m.watch_list, m.ts
"""


def market(parts: Parts, as_of: pd.Timestamp) -> int:
    """Store each calendar's median return and volume at new bars, and whether it was unusual.

    The first value stays: an instrument whose bar comes late does not change what the others
    were judged with. A run that leaves out instruments which were watched within the last weeks
    is no measure of the market: it stores none. Gives the number of new rows.
    """
    n_new = 0
    partly = {parts.calendars.of(symbol) for symbol in watched_lately(parts, as_of)}
    for calendar, symbols in members(parts).items():
        if calendar in partly:
            continue
        stored = stored_market(parts, [calendar])
        since = stored["ts"].max() - RECENT if len(stored) else None
        found = _found(parts, symbols, since, as_of)
        new = found[~found["ts"].isin(stored["ts"])]
        if len(new):
            rows = _judged(parts, calendar, symbols[0], stored, new)
            n_new += parts.warehouse.upsert(MARKET, rows.assign(known_at=as_of))
    return n_new


def members(parts: Parts) -> dict[str, list[str]]:
    """The watched instruments of each calendar."""
    found: dict[str, list[str]] = {}
    for symbol in sorted(parts.watch.symbols):
        found.setdefault(parts.calendars.of(symbol), []).append(symbol)
    return found


def stored_market(parts: Parts, calendars: list[str]) -> pd.DataFrame:
    """What is stored of these markets, oldest first."""
    return parts.warehouse.query(
        'select * from market where watch_list = any(%(calendars)s) and "interval" = %(interval)s '
        "order by watch_list, ts",
        {"calendars": calendars, "interval": parts.watch.interval},
    )


def with_market(parts: Parts, candles: pd.DataFrame, as_of: pd.Timestamp) -> pd.DataFrame:
    """Add ``market`` and ``market_volume`` of the instrument's market at each bar, else NaN.

    They are unknown, too, where the market's return is over a time that is not the instrument's
    own, by the column ``steps``. A column ``known_at`` becomes that of the market, where it is
    later.
    """
    of = {symbol: parts.calendars.of(symbol) for symbol in candles["symbol"].unique()}
    calendar = candles["symbol"].map(of)
    known = parts.warehouse.query(
        STORED_SINCE,
        {
            "calendars": sorted(calendar.unique()),
            "interval": parts.watch.interval,
            "since": candles["ts"].min().to_pydatetime(),
            "until": candles["ts"].max().to_pydatetime(),
            "as_of": as_of.to_pydatetime(),
        },
    )
    known["ts"] = known["ts"].astype(candles["ts"].dtype)
    # Over how many steps a return is, the market's bar before says.
    before = known.groupby("watch_list")["known_at"].shift()
    known["market_known_at"] = later(known.pop("known_at"), before)
    # The count of a calendar's bars asks for the name of an instrument that follows it.
    member = {name: symbol for symbol, name in of.items()}
    known = with_steps(parts, known.assign(symbol=known["watch_list"].map(member)))
    known = known.drop(columns="symbol").rename(columns={"steps": "market_steps"})
    rows = candles.assign(watch_list=calendar)
    rows = rows.merge(known, how="left", on=["watch_list", "ts"])
    if "steps" in rows:
        steps, others = (rows[name].to_numpy(dtype=float) for name in ("steps", "market_steps"))
        is_own = is_same_time(steps, others)
        for name in ("market", "market_volume"):
            rows[name] = rows[name].where(is_own)
    if "known_at" in rows:
        rows["known_at"] = later(rows["known_at"], rows["market_known_at"])
    return rows.drop(columns=["watch_list", "market_steps", "market_known_at"])


def _found(
    parts: Parts, symbols: list[str], since: pd.Timestamp | None, as_of: pd.Timestamp
) -> pd.DataFrame:
    """The medians of the members from ``since`` on."""
    tables = [
        _moves(parts, symbols[i : i + TOGETHER], since, as_of)
        for i in range(0, len(symbols), TOGETHER)
    ]
    return medians(*(_beside(frames) for frames in zip(*tables, strict=True)))


def _beside(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat([t for t in tables if len(t)] or list(tables), axis=1)


def _moves(
    parts: Parts, symbols: list[str], since: pd.Timestamp | None, as_of: pd.Timestamp
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Returns of the members, over how many steps each is, and their volumes."""
    before = max(RECENT, BARS_BEFORE * length(parts.watch.interval))
    candles = parts.warehouse.read(
        CANDLES,
        symbols=symbols,
        interval=parts.watch.interval,
        since=None if since is None else since - before,
        as_of=as_of,
        columns=["symbol", "ts", "close", "volume", "hours"],
    )
    candles = regular(candles)
    is_new = np.ones(len(candles), dtype=bool) if since is None else candles["ts"] >= since
    if not np.any(is_new):
        return pd.DataFrame(), pd.DataFrame(), pd.DataFrame()
    candles = with_splits(parts, candles, as_of)
    traded = volumes(candles)
    # The first return is from the first bar looked at to the next.
    candles = with_steps(parts, candles if since is None else candles[candles["ts"] >= since])
    return returns(candles), spans(candles), traded


def _judged(
    parts: Parts, calendar: str, member: str, stored: pd.DataFrame, new: pd.DataFrame
) -> pd.DataFrame:
    """The new rows judged behind all that is stored; a market's history is one short series."""
    interval = parts.watch.interval
    whole = pd.concat([stored[["ts", "return"]], new[["ts", "return"]]]).sort_values("ts")
    rate = parts.ensemble.alerts_per_year / parts.calendars.bars_per_year(member, interval)
    steps = with_steps(parts, whole.assign(symbol=member))["steps"].to_numpy(dtype=float)
    judged = judge_market(whole["return"].to_numpy(dtype=float), rate, steps)
    verdict = np.where(judged.is_anomaly, "anomaly", "normal")
    whole = whole.assign(
        z=judged.z,
        p=judged.p,
        rate=judged.rate,
        verdict=np.where(np.isnan(judged.p), "undecided", verdict),
    ).drop(columns="return")
    return new.merge(whole, on="ts").assign(watch_list=calendar, interval=interval)
