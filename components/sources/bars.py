"""Rows as every source hands them over: prices as traded, one number for one price."""

import numpy as np
import pandas as pd

from components.records import Parsed

PRICES = ["open", "high", "low", "close"]
NUMBERS = [*PRICES, "volume", "vwap", "trades"]

# A 32-bit float holds seven digits; what Yahoo prints after them is noise.
FLOAT32_DIGITS = 7

EARLIEST, LATEST = pd.Timestamp("1800-01-01", tz="UTC"), pd.Timestamp("2200-01-01", tz="UTC")


def candles_frame(ts: pd.DatetimeIndex, numbers: dict[str, np.ndarray]) -> pd.DataFrame:
    """Make the candles of a reply: ``ts``, the seven numbers (absent ones NaN), ``line``.

    Where a provider states closes less their dividends, they are beside, as ``adj_close``.
    """
    empty = np.full(len(ts), np.nan)
    columns = {name: np.asarray(numbers.get(name, empty), dtype=float) for name in NUMBERS}
    beside = {name: numbers[name] for name in ("adj_close",) if name in numbers}
    # Years that no calendar knows are a slip of the pen, and no time.
    ts = ts.as_unit("us")
    ts = pd.DatetimeIndex(ts.where((ts >= EARLIEST) & (ts < LATEST)))
    return pd.DataFrame({"ts": ts, **columns, "line": np.arange(len(ts)), **beside})


def actions_frame(
    dividends: pd.Series | None = None, splits: pd.Series | None = None
) -> pd.DataFrame:
    """Make the actions of a reply from values indexed by session date, oldest first."""
    parts = [
        pd.DataFrame({"ts": values.index, "kind": kind, "value": values.to_numpy(dtype=float)})
        for kind, values in (("dividend", dividends), ("split", splits))
        if values is not None and len(values)
    ]
    if not parts:
        return pd.DataFrame(
            {
                "ts": pd.DatetimeIndex([], tz="UTC").as_unit("us"),
                "kind": pd.Series([], dtype="str"),
                "value": np.array([], dtype=float),
            }
        )
    table = pd.concat(parts, ignore_index=True)
    table["ts"] = pd.DatetimeIndex(table["ts"]).as_unit("us")
    return table.sort_values(["ts", "kind"], kind="stable").reset_index(drop=True)


def significant(values: np.ndarray, digits: int = FLOAT32_DIGITS) -> np.ndarray:
    """Round to ``digits`` significant digits; zero, NaN and infinities stay as they are."""
    usable = np.isfinite(values) & (values != 0)
    power = digits - 1 - np.floor(np.log10(np.abs(np.where(usable, values, 1.0))))
    # Only whole powers of ten up to 22 are exact, so large numbers are divided by one.
    up, down = 10.0 ** np.clip(power, 0, 22), 10.0 ** np.clip(-power, 0, 300)
    safe = np.where(usable, values, 1.0)
    return np.where(usable, np.round(safe / down * up) / up * down, values)


def undo_splits(candles: pd.DataFrame, actions: pd.DataFrame) -> Parsed:
    """Restore prices, volumes and dividends as they were traded, and round to seven digits.

    Yahoo restates history by every later split: it divides the prices by the ratio and
    multiplies the volumes. With q a price of today's file and r_i the ratios of the splits
    after its bar, the price that was traded is q * r_1 * r_2 * ...
    """
    splits = actions[actions["kind"] == "split"]
    candles, actions = candles.copy(), actions.copy()
    factor = _later_ratios(pd.DatetimeIndex(candles["ts"]), splits)
    for name in [*PRICES, "vwap"]:
        candles[name] = significant(candles[name].to_numpy() * factor)
    volume = candles["volume"].to_numpy()
    candles["volume"] = np.where(factor == 1, volume, np.round(volume / factor))
    factor = _later_ratios(pd.DatetimeIndex(actions["ts"]), splits)
    value = actions["value"].to_numpy(dtype=float)
    actions["value"] = np.where(actions["kind"] == "dividend", significant(value * factor), value)
    return Parsed(candles, actions)


def _later_ratios(ts: pd.DatetimeIndex, splits: pd.DataFrame) -> np.ndarray:
    """Multiply, for each bar, the ratios of the splits after it."""
    from_here_on = np.append(np.cumprod(splits["value"].to_numpy(dtype=float)[::-1])[::-1], 1.0)
    place = pd.DatetimeIndex(splits["ts"]).searchsorted(ts, side="right")
    factor: np.ndarray = from_here_on[np.minimum(place, len(splits))]
    return np.where(ts.isna(), 1.0, factor)
