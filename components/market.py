"""The market of a calendar: what its watched instruments did in the median, judged as one."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from components.calibration import KeptRate, Reference
from components.carried import State, named, scoped
from components.features.scale import VolatilityUnits
from components.features.window import volume_ratio
from components.panels import Array, Flags, pack

# Fewer instruments are no market: the median of three is mostly one of them.
LEAST_MEMBERS = 5

# An outage of hours does not begin and end in the same minute for all: what is over numbers of
# steps that differ by at most this share is over the same time. One step is not two.
SLACK = 0.1


def returns(candles: pd.DataFrame) -> pd.DataFrame:
    """Simple returns as fractions, a row a ts and a column a symbol.

    Parameters
    ----------
    candles : DataFrame
        symbol, ts, close, split (new shares per old one since the bar before); the bar before
        the first wanted one included, rows in any order.
    """
    rows = candles[["symbol", "ts", "close", "split"]].sort_values(["symbol", "ts"], kind="stable")
    before = rows.groupby("symbol", sort=False)["close"].shift()
    rows["return"] = (rows["close"] * rows["split"] / before - 1).astype("float32")
    return rows.set_index(["ts", "symbol"])["return"].unstack()  # noqa: PD010 - keys are unique


def volumes(candles: pd.DataFrame) -> pd.DataFrame:
    """ln(volume / mean of the 10 earlier volumes) in the shape of ``returns``; splits undone.

    Parameters
    ----------
    candles : DataFrame
        symbol, ts, volume, split; ten bars before the first wanted one, rows in any order.
    """
    symbols = tuple(sorted(candles["symbol"].unique()))
    panel = pack(candles, symbols)
    series, bars = np.nonzero(panel.is_bar)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(volume_ratio(panel, np.full(len(symbols), np.nan)))
    rows = pd.DataFrame(
        {
            "ts": pd.DatetimeIndex(panel.ts[series, bars], tz="UTC").astype(candles["ts"].dtype),
            "symbol": np.array(symbols, dtype=object)[series],
            "volume": np.where(np.isfinite(logs), logs, np.nan)[series, bars].astype("float32"),
        }
    )
    return rows.set_index(["ts", "symbol"])["volume"].unstack()  # noqa: PD010 - keys are unique


def spans(candles: pd.DataFrame) -> pd.DataFrame:
    """The column ``steps`` of candles in the shape of ``returns``."""
    steps = candles.set_index(["ts", "symbol"])["steps"].astype("float32")
    return steps.unstack()  # noqa: PD010 - keys are unique


def medians(
    moves: pd.DataFrame, spans: pd.DataFrame | None = None, volumes: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Columns ts, return (median, a fraction), volume, n_instruments; of ``LEAST_MEMBERS`` or more.

    Of members that come to a bar over different numbers of steps only those count that come
    over about the median number: a move over an outage of one's own is no move of the market.
    The volume is NaN where fewer have one; without a return there is no row.
    """
    if spans is not None:
        usual = spans.where(moves.notna()).median(axis=1)
        moves = moves.where(is_same_time(spans.to_numpy(), usual.to_numpy()[:, None]))
    n = moves.notna().sum(axis=1)
    enough = moves[n >= LEAST_MEMBERS]
    volume = np.full(len(enough), np.nan)
    if volumes is not None:
        traded = volumes.reindex(index=enough.index, columns=enough.columns).where(enough.notna())
        has_volume = traded.notna().sum(axis=1) >= LEAST_MEMBERS
        volume = traded.median(axis=1).where(has_volume).to_numpy(dtype=float)
    return pd.DataFrame(
        {
            "ts": enough.index,
            "return": enough.median(axis=1).to_numpy(dtype=float),
            "volume": volume,
            "n_instruments": n[n >= LEAST_MEMBERS].to_numpy(),
        }
    )


def is_same_time(steps: Array, others: Array) -> Flags:
    """Whether two moves are over about the same number of steps; arrays that broadcast."""
    close: Flags = np.abs(steps - others) <= SLACK * np.minimum(steps, others)
    return close


def market_returns(candles: pd.DataFrame) -> pd.DataFrame:
    """What was done in the median at each bar: ``medians``, over ``spans`` if they are known."""
    known_spans = spans(candles) if "steps" in candles else None
    return medians(returns(candles), known_spans, volumes(candles) if "volume" in candles else None)


@dataclass(frozen=True)
class JudgedMarket:
    """Each bar of one market; arrays (n_bars,): z in volatility units, p, rate, alert flags."""

    z: Array
    p: Array
    rate: Array
    is_anomaly: Array


def start_market() -> State:
    """The state before a market's first bar."""
    return {
        **named(VolatilityUnits().start(1), "units"),
        **named(Reference().start(1), "reference"),
        **named(KeptRate().start(1), "rate"),
    }


def run_market(
    state: State, moves: Array, rate: float, steps: Array | None = None
) -> tuple[State, JudgedMarket]:
    """Judge a market's next simple returns (n_bars,), oldest first; a carried scan.

    ``rate`` is the stated share of bars that may alert; ``steps`` how many bars each return is
    over, 1 when not given. It is divided by their square root.
    """
    x = (np.log1p(moves) / np.sqrt(1.0 if steps is None else steps))[None]
    units, z, _ = VolatilityUnits().run(scoped(state, "units"), x)
    reference, p, _ = Reference().run(scoped(state, "reference"), np.abs(z))
    one_regime = np.zeros(p.shape, dtype=np.int64)
    kept, alert, in_force = KeptRate().run(scoped(state, "rate"), p, np.full(1, rate), one_regime)
    after = {**named(units, "units"), **named(reference, "reference"), **named(kept, "rate")}
    return after, JudgedMarket(z[0], p[0], in_force[0], alert[0])


def judge_market(moves: Array, rate: float, steps: Array | None = None) -> JudgedMarket:
    """Judge a market's simple returns from its first bar; see ``run_market``."""
    return run_market(start_market(), moves, rate, steps)[1]
