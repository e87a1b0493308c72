"""Rows of features: what the candles of some instruments come to, piece by piece."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.carried import State
from components.features import VERSION
from components.features.all_features import AllFeatures
from components.panels import pack
from components.sessions import ALWAYS_OPEN
from components.steps.bars import judged_bars
from components.steps.gaps import regular
from components.steps.history import candles_between
from components.steps.labels import doubted_bars
from components.steps.parts import Parts

SCAN = AllFeatures()

NEVER = np.datetime64("NaT", "us")

Span = tuple[pd.Timestamp, pd.Timestamp]
Instants = npt.NDArray[np.datetime64]


@dataclass(frozen=True)
class Behind:
    """What is carried of some instruments behind their last bar.

    ``state`` of the scan; ``last`` the last bar of each, NaT before the first; ``known_at``
    (n_series,) when the last of what was read of it became known.
    """

    state: State
    last: "pd.Series[pd.Timestamp]"
    known_at: Instants

    @staticmethod
    def nothing(symbols: tuple[str, ...]) -> "Behind":
        """What is carried before the first bar."""
        unknown = np.full(len(symbols), NEVER)
        return Behind(SCAN.start(len(symbols)), _by(symbols, unknown), unknown)


def feature_rows(
    parts: Parts, symbols: tuple[str, ...], spans: list[Span], since: pd.Timestamp
) -> Iterator[pd.DataFrame]:
    """Rows of ``features`` of the bars from ``since`` on, a frame a span that has any.

    A bar that was found to be a data error has a row, too, in which no feature is known.

    Parameters
    ----------
    symbols : tuple of str
        In order.
    spans : list of (Timestamp, Timestamp)
        [first, end) each; they follow one another from the instruments' first bar on.
    """
    interval, as_of = parts.watch.interval, parts.run.as_of
    doubted = doubted_bars(parts.warehouse, symbols, interval, as_of)
    errors = doubted.loc[doubted["is_error"], ["symbol", "ts", "known_at"]]
    behind = Behind.nothing(symbols)
    for first, end in spans:
        candles = regular(candles_between(parts, symbols, first, end, as_of))
        if not len(candles):
            continue
        parts.run.counts["bars_read"] += len(candles)
        made = candles.loc[candles["ts"] >= since, ["symbol", "ts"]].merge(errors)
        bars = judged_bars(parts, candles, as_of, behind.last)
        if len(bars):
            behind, rows = _computed(parts, symbols, behind, bars, since)
            made = pd.concat([rows, made]) if len(made) else rows
        made = made.assign(interval=interval, version=VERSION, closes_at=_closes(parts, made))
        yield made


def _computed(
    parts: Parts,
    symbols: tuple[str, ...],
    behind: Behind,
    bars: pd.DataFrame,
    since: pd.Timestamp,
) -> tuple[Behind, pd.DataFrame]:
    """Scan the next bars; give the rows of those from ``since`` on."""
    always = [symbol for symbol in symbols if parts.calendars.of(symbol) == ALWAYS_OPEN]
    panel = pack(bars, symbols, always)
    state, found = SCAN.run(behind.state, panel)
    own = np.full(panel.ts.shape, NEVER)
    own[panel.is_bar] = bars["known_at"].dt.tz_convert(None).to_numpy()
    # A row is known once all that it was made from is: NaT, where there is no bar, is passed over.
    known_at = np.fmax.accumulate(np.column_stack([behind.known_at, own]), axis=1)[:, 1:]
    last = np.where(panel.is_bar[:, -1], panel.ts[:, -1], behind.last.dt.tz_convert(None))
    behind = Behind(state, _by(symbols, last), known_at[:, -1])
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
    closes, ts = np.full(len(rows), NEVER), pd.DatetimeIndex(rows["ts"])
    calendar = rows["symbol"].map({s: parts.calendars.of(s) for s in rows["symbol"].unique()})
    for places in rows.groupby(calendar.to_numpy()).indices.values():
        symbol = str(rows["symbol"].iloc[places[0]])
        own = parts.calendars.closes(symbol, parts.watch.interval, ts[places])
        closes[places] = own.tz_convert(None).to_numpy()
    return pd.DatetimeIndex(closes, tz="UTC")


def _by(symbols: tuple[str, ...], instants: Instants) -> "pd.Series[pd.Timestamp]":
    return pd.Series(pd.DatetimeIndex(instants, tz="UTC"), index=list(symbols))
