"""A market bar by bar: its members' last candles carried, its median move judged as it comes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.carried import State
from components.features.window import WINDOW, volume_ratio
from components.market import is_same_time, medians, run_market, start_market
from components.panels import FIELDS, Array, CandlePanel

# What a market stores of a bar.
COLUMNS = ("ts", "return", "volume", "n_instruments", "z", "p", "rate", "verdict")

# What is carried of each member's last bars.
CARRIED = tuple(FIELDS.index(name) for name in ("close", "volume", "split"))

NEVER = np.datetime64("NaT", "us")


@dataclass(frozen=True)
class MarketState:
    """What a market remembers.

    ``ts`` (n_members, 10) and ``fields`` (n_members, 10, 3), close, volume and split, are those of
    each member's last bars, at the end of the axis. ``last`` is the market's last bar, NaT before
    the first; ``judge`` what its judgement carries.
    """

    ts: npt.NDArray[np.datetime64]
    fields: Array
    last: np.datetime64
    judge: State


def start_scan(n_members: int) -> MarketState:
    """The state before the first bar."""
    shape = (n_members, WINDOW)
    fields = np.full((*shape, len(CARRIED)), np.nan)
    return MarketState(np.full(shape, NEVER), fields, NEVER, start_market())


@dataclass(frozen=True)
class MarketScan:
    """The median move of some instruments at each bar; a carried scan.

    Parameters
    ----------
    rate : float
        Share of the market's bars that may alert.
    """

    rate: float

    def moves(self, state: MarketState, panel: CandlePanel) -> tuple[MarketState, pd.DataFrame]:
        """The medians of new bars, and the members' last bars behind them.

        Parameters
        ----------
        panel : CandlePanel
            The members' new bars, all newer than the state, with ``split`` and ``steps``.

        Returns
        -------
        DataFrame
            As ``market.medians``: ts, return, volume, n_instruments; bars with enough members.
        """
        ts = _behind(state.ts, panel.ts, panel)
        fields = _behind(state.fields, panel.fields[:, :, CARRIED], panel)
        n_old = WINDOW
        close, split = fields[:, :, 0], fields[:, :, 2]
        with np.errstate(invalid="ignore", divide="ignore"):
            move = close[:, 1:] * split[:, 1:] / close[:, :-1] - 1
            whole = np.full((*ts.shape, len(FIELDS)), np.nan)
            whole[:, :, CARRIED] = fields
            ratio = np.log(volume_ratio(CandlePanel(panel.symbols, ts, whole), np.empty(0)))
        ratio = np.where(np.isfinite(ratio), ratio, np.nan)
        found = medians(
            *(
                _by_bar(values, panel)
                for values in (move[:, n_old - 1 :], panel.field("steps"), ratio[:, n_old:])
            )
        )
        n_new = panel.ts.shape[1]
        after = MarketState(ts[:, n_new:], fields[:, n_new:], state.last, state.judge)
        return after, found

    def judged(self, state: MarketState, found: pd.DataFrame) -> tuple[MarketState, pd.DataFrame]:
        """Judge the next medians; ``found`` has ``steps``, the bars since the one before."""
        steps = found["steps"].to_numpy(dtype=float)
        judge, said = run_market(state.judge, found["return"].to_numpy(float), self.rate, steps)
        verdict = np.where(said.is_anomaly, "anomaly", "normal")
        rows = found.assign(
            z=said.z,
            p=said.p,
            rate=said.rate,
            verdict=np.where(np.isnan(said.p), "undecided", verdict),
        )
        last = state.last
        if len(found):
            last = found["ts"].iloc[-1].tz_convert(None).to_datetime64().astype("datetime64[us]")
        return MarketState(state.ts, state.fields, last, judge), rows


def beside(rows: pd.DataFrame, market: pd.DataFrame) -> pd.DataFrame:
    """Add ``market`` and ``market_volume`` to the members' bars.

    They are NaN where the market has no bar, or its move is over a time that is not the member's
    own. Rows keep their order.

    Parameters
    ----------
    rows : DataFrame
        ts, steps.
    market : DataFrame
        ts, return, volume, steps; one row a ts.
    """
    place = pd.Index(market["ts"]).get_indexer(pd.Index(rows["ts"]))
    is_known = place >= 0
    columns = {}
    for name in ("return", "volume", "steps"):
        values = np.append(market[name].to_numpy(dtype=float), np.nan)
        columns[name] = values[np.where(is_known, place, -1)]
    with np.errstate(invalid="ignore"):
        is_own = is_same_time(rows["steps"].to_numpy(dtype=float), columns["steps"])
    return rows.assign(
        market=np.where(is_own, columns["return"], np.nan),
        market_volume=np.where(is_own, columns["volume"], np.nan),
    )


def _by_bar(values: Array, panel: CandlePanel) -> pd.DataFrame:
    """Values (n_members, n_bars) of a panel as a row a ts and a column a member, 32-bit."""
    # A tail moves what stands before a series' first new bar; new bars stand at the end of both.
    series, bars = np.nonzero(panel.is_bar)
    stamps = panel.ts[series, bars]
    opens, place = np.unique(stamps, return_inverse=True)
    table = np.full((len(opens), len(panel.symbols)), np.nan, dtype=np.float32)
    table[place, series] = values[series, bars]
    index = pd.DatetimeIndex(opens, tz="UTC").as_unit("us")
    return pd.DataFrame(table, index=index, columns=list(panel.symbols))


def _behind(old: npt.NDArray, new: npt.NDArray, panel: CandlePanel) -> npt.NDArray:  # type: ignore[type-arg]
    """The carried bars right before each member's first new one, all at the end of the axis."""
    n_old, n_new = old.shape[1], new.shape[1]
    n_missing = n_new - panel.is_bar.sum(axis=1)
    place = np.arange(n_old + n_new)[None, :] - n_missing[:, None]
    both = np.concatenate([old, new], axis=1)
    source = np.where(place >= n_old, place + n_missing[:, None], place)
    picked = np.maximum(source, 0)
    rows = both[np.arange(len(both))[:, None], picked]
    is_there = place >= 0
    blank = np.array("NaT", dtype=old.dtype) if old.dtype.kind == "M" else np.nan
    return np.where(is_there.reshape(*is_there.shape, *([1] * (rows.ndim - 2))), rows, blank)
