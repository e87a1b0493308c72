"""Compare what was loaded with a second source: closes that differ are data trouble."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pandas as pd

from components import checks
from components.errors import TremorError
from components.records import CandleRequest, Failure, Parsed, RawBatch, RawReply, RunSummary
from components.sessions import length
from components.sources.base import Source
from components.steps.gather import fetch, parse
from components.steps.parts import Parts
from components.tables import QUARANTINE, RAW_OBJECTS

# A first run loads years; of what was loaded the newest week is compared.
COMPARED = pd.Timedelta(days=7)

# What a failure of the second source is called, before its kind.
OF_SECOND = "second source, "


def compare(parts: Parts, as_of: pd.Timestamp) -> int:
    """Hold the closes that this run loaded against the second source's, if there is one.

    A bar of which the logarithm of the closes' ratio is larger than ``watch.tolerance`` is let
    in, and the second source's row goes to the quarantine under ``sources_disagree`` with both
    values; gives how many. Its replies are kept in the raw lake. Opens are not compared:
    auctions make them differ.

    An instrument that the second does not know, by its name or by that of the setting, is not
    compared, nor is a bar that it does not have. A second source that fails, or knows none of
    them, is noted among the run's failures, and stops nothing.
    """
    second = parts.second
    if second is None:
        return 0
    own = _newly_loaded(parts, as_of)
    try:
        requests = _requests(parts, second, own, as_of)
    except TremorError as error:
        parts.run.failures.append(Failure(second.name, f"{OF_SECOND}{_kind(error)}", str(error)))
        return 0
    if own.empty:
        return 0
    if not requests:
        parts.run.failures.append(_stranger(parts, second, own))
        return 0
    # Failures of the second source must not count as the first one's.
    run = RunSummary(parts.run.id, parts.run.command, as_of)
    beside = replace(parts, source=second, run=run)
    batch = fetch(beside, requests)
    read = parse(beside, batch)
    failures = [f for f in (*batch.failures, *read.failures) if f.kind != "SymbolNotFound"]
    if not read.parsed and not failures:
        parts.run.failures.append(_stranger(parts, second, own))
    parts.run.failures.extend(
        Failure(f.symbol, f"{OF_SECOND}{f.kind}", f"{second.name}: {f.message}") for f in failures
    )
    pairs = _pairs(parts, read.parsed, own)
    apart = pairs[np.abs(np.log(pairs["close_second"] / pairs["close"])) > parts.watch.tolerance]
    rows = _quarantined(apart, as_of)
    _store(parts, batch, rows)
    counts = parts.run.counts
    counts["bars_compared"] = counts.get("bars_compared", 0) + len(pairs)
    counts["bars_disagree"] = counts.get("bars_disagree", 0) + len(rows)
    return len(rows)


def _stranger(parts: Parts, second: Source, own: pd.DataFrame) -> Failure:
    """Nothing was compared, for the second source knows no instrument by these names."""
    names = [parts.watch.second_names.get(name, name) for name in own["symbol"].unique()]
    message = f"{second.name}: knows none of {', '.join(names[:5])}. Set TREMOR_SECOND_NAMES."
    return Failure(second.name, f"{OF_SECOND}SymbolNotFound", message)


def _kind(error: TremorError) -> str:
    return type(error).__name__


def _newly_loaded(parts: Parts, as_of: pd.Timestamp) -> pd.DataFrame:
    just_before = as_of - pd.Timedelta(microseconds=1)
    symbols, interval = list(parts.watch.symbols), parts.watch.interval
    rows = parts.warehouse.changed_since(just_before, as_of, symbols, interval)
    return rows[rows["ts"] >= as_of - COMPARED]


def _requests(
    parts: Parts, second: Source, own: pd.DataFrame, as_of: pd.Timestamp
) -> list[CandleRequest]:
    """Ask for the span of each instrument's new bars."""
    listed, interval = set(second.symbols()), parts.watch.interval
    spans = own.groupby("symbol")["ts"].agg(["min", "max"])
    requests: list[CandleRequest] = []
    for symbol, since, last in spans.itertuples():
        name = parts.watch.second_names.get(symbol, symbol)
        if not listed or name in listed:
            until = min(last + length(interval), as_of)
            requests += second.pieces(CandleRequest(name, interval, since, until, as_of))
    return requests


def _pairs(parts: Parts, parsed: list[tuple[RawReply, Parsed]], own: pd.DataFrame) -> pd.DataFrame:
    """Bars that both sources have, with both closes; doubtful rows of the second are left out."""
    if not parsed:
        return pd.DataFrame({"close": [], "close_second": []})
    good = checks.apply(parsed, pd.DataFrame(), parts.calendars)[0]
    of_replies = pd.concat([_lines(reply, one) for reply, one in parsed], ignore_index=True)
    keys = ["symbol", "interval", "ts"]
    of_second = good[[*keys, "close", "source"]].merge(of_replies, on=keys)
    own_names = {name: symbol for symbol, name in parts.watch.second_names.items()}
    of_second["symbol"] = of_second["symbol"].replace(own_names)
    both = own[[*keys, "close", "source"]].merge(of_second, on=keys, suffixes=("", "_second"))
    return both.drop_duplicates(keys, keep="last", ignore_index=True)


def _lines(reply: RawReply, parsed: Parsed) -> pd.DataFrame:
    """Where each bar stands in the reply."""
    lines = parsed.candles[["ts", "line"]].drop_duplicates("ts", keep="last")
    return lines.assign(
        symbol=reply.request.symbol,
        interval=reply.request.interval,
        raw=hashlib.sha256(reply.body).hexdigest(),
    )


def _quarantined(apart: pd.DataFrame, as_of: pd.Timestamp) -> pd.DataFrame:
    if apart.empty:
        return pd.DataFrame(columns=list(QUARANTINE.columns))
    values = apart[["close_second", "source", "close"]].itertuples(index=False)
    texts = [
        json.dumps({"close": second, "first_source": name, "first_close": first})
        for second, name, first in values
    ]
    rows = apart.assign(
        check_name=checks.SOURCES_DISAGREE,
        row_text=texts,
        source=apart["source_second"],
        known_at=as_of,
    )
    return rows[list(QUARANTINE.columns)].reset_index(drop=True)


def _store(parts: Parts, batch: RawBatch, rows: pd.DataFrame) -> None:
    objects = parts.lake.raw_rows(batch)
    with parts.warehouse.transaction():
        for table, stored in ((QUARANTINE, rows), (RAW_OBJECTS, objects)):
            if len(stored):
                parts.warehouse.upsert(table, stored)
