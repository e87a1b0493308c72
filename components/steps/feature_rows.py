"""Rows of features: what the candles of some instruments come to, piece by piece."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.carried import Snapshot
from components.features import VERSION
from components.features.all_features import AllFeatures
from components.panels import pack
from components.sessions import ALWAYS_OPEN
from components.steps.bars import judged_bars
from components.steps.history import candles_between
from components.steps.labels import doubted_bars
from components.steps.parts import Parts

SCAN = AllFeatures()

NEVER = np.datetime64("NaT", "us")

Span = tuple[pd.Timestamp, pd.Timestamp]


def nothing_behind(symbols: tuple[str, ...]) -> Snapshot:
    """What is carried before the first bar.

    Beside the scan's state ``last``, the last bar of each instrument, and ``known_at``, when the
    last of what was read of it became known.
    """
    n = len(symbols)
    unknown = {"last": np.full(n, NEVER), "known_at": np.full(n, NEVER)}
    return Snapshot(symbols, {**SCAN.start(n), **unknown})


def last_bars(behind: Snapshot) -> "pd.Series[pd.Timestamp]":
    """The last bar of each instrument; NaT before the first."""
    return pd.Series(pd.DatetimeIndex(behind.state["last"], tz="UTC"), index=list(behind.symbols))


def feature_rows(
    parts: Parts, behind: Snapshot, spans: list[Span], since: pd.Timestamp
) -> Iterator[tuple[Snapshot, pd.DataFrame]]:
    """Rows of ``features`` of the bars from ``since`` on, and what is then carried, span by span.

    A bar that was found to be a data error has a row, too, in which no feature is known.

    Parameters
    ----------
    behind : Snapshot
        What is carried, of instruments in the order of their names.
    spans : list of (Timestamp, Timestamp)
        [first, end) each; they follow one another from the first bar that is not behind.
    """
    interval, as_of, symbols = parts.watch.interval, parts.run.as_of, behind.symbols
    doubted = doubted_bars(parts.warehouse, symbols, interval, as_of)
    errors = doubted.loc[doubted["is_error"], ["symbol", "ts", "known_at"]]
    for first, end in spans:
        candles = candles_between(parts, symbols, first, end, as_of)
        last = last_bars(behind)
        candles = candles[~(candles["ts"] <= candles["symbol"].map(last))]
        if not len(candles):
            yield behind, pd.DataFrame()
            continue
        parts.run.counts["bars_read"] += len(candles)
        made = candles.loc[candles["ts"] >= since, ["symbol", "ts"]].merge(errors)
        bars = judged_bars(parts, candles, as_of, last)
        if len(bars):
            behind, rows = _computed(parts, behind, bars, since)
            made = pd.concat([rows, made]) if len(made) else rows
        made = made.assign(interval=interval, version=VERSION, closes_at=_closes(parts, made))
        yield behind, made


def _computed(
    parts: Parts, behind: Snapshot, bars: pd.DataFrame, since: pd.Timestamp
) -> tuple[Snapshot, pd.DataFrame]:
    """Scan the next bars; give the rows of those from ``since`` on."""
    symbols, before = behind.symbols, behind.state
    panel = pack(bars, symbols, [s for s in symbols if parts.calendars.of(s) == ALWAYS_OPEN])
    state, found = SCAN.run(before, panel)
    own = np.full(panel.ts.shape, NEVER)
    own[panel.is_bar] = bars["known_at"].dt.tz_convert(None).to_numpy()
    # A row is known once all that it was made from is: NaT, where there is no bar, is passed over.
    known_at = np.fmax.accumulate(np.column_stack([before["known_at"], own]), axis=1)[:, 1:]
    last = np.where(panel.is_bar[:, -1], panel.ts[:, -1], before["last"])
    behind = Snapshot(symbols, {**state, "last": last, "known_at": known_at[:, -1]})
    series, places = np.nonzero(panel.is_bar & (panel.ts >= since.tz_convert(None).asm8))
    columns = {name: values[series, places] for name, values in found.items()}
    return behind, pd.DataFrame(
        {
            "symbol": np.array(symbols, dtype=object)[series],
            "ts": pd.DatetimeIndex(panel.ts[series, places], tz="UTC"),
            **columns,
            "known_at": pd.DatetimeIndex(known_at[series, places], tz="UTC"),
        }
    )


def _closes(parts: Parts, rows: pd.DataFrame) -> pd.DatetimeIndex:
    """When each row's bar closed."""
    closes: npt.NDArray[np.datetime64] = np.full(len(rows), NEVER)
    ts = pd.DatetimeIndex(rows["ts"])
    calendar = rows["symbol"].map({s: parts.calendars.of(s) for s in rows["symbol"].unique()})
    for places in rows.groupby(calendar.to_numpy()).indices.values():
        symbol = str(rows["symbol"].iloc[places[0]])
        own = parts.calendars.closes(symbol, parts.watch.interval, ts[places])
        closes[places] = own.tz_convert(None).to_numpy()
    return pd.DatetimeIndex(closes, tz="UTC")
