"""Alerts per instrument and year as they came, to be held against what was stated."""

from typing import Any

import numpy as np
import numpy.typing as npt

from components.evaluation.told import Told
from components.panels import Array, Flags, Ints

# Volatility is taken over so many bars before the bar.
TRAILING = 60

# A rate of an instrument means little over fewer years.
LONG_YEARS = 5.0


def realised_rates(told: Told) -> dict[str, Any]:
    """Alerts per instrument and year: pooled, by year, by tercile, by instrument."""
    decided, alert = told.is_decided, told.is_alert & told.is_decided
    years = _instrument_years(told, decided)
    return {
        "pooled": _rate(alert.sum(), years.sum()),
        "n_alerts": int(alert.sum()),
        "n_instruments": int((years > 0).sum()),
        "instrument_years": float(years.sum()),
        "by_year": _by_year(told, decided, alert),
        "by_tercile": _by_tercile(told, decided, alert),
        "by_instrument": _by_instrument(years, alert.sum(axis=1)),
    }


def _rate(n_alerts: float, years: float) -> float:
    return float(n_alerts / years) if years > 0 else float("nan")


def _instrument_years(told: Told, chosen: Flags) -> Array:
    years: Array = chosen.sum(axis=1) / told.per_year
    return years


def _by_year(told: Told, decided: Flags, alert: Flags) -> dict[str, dict[str, float]]:
    calendar_year = told.ts.astype("datetime64[Y]").astype(int) + 1970
    found = {}
    for year in np.unique(calendar_year[decided]):
        within = decided & (calendar_year == year)
        years = _instrument_years(told, within)
        found[str(year)] = {
            "rate": _rate(alert[within].sum(), years.sum()),
            "n_instruments": int((years > 0).sum()),
            "instrument_years": float(years.sum()),
        }
    return found


def _by_tercile(told: Told, decided: Flags, alert: Flags) -> dict[str, float]:
    tercile = terciles(trailing_volatility(told.move), decided)
    found = {}
    for place, name in enumerate(("low", "middle", "high")):
        within = tercile == place
        years = _instrument_years(told, within)
        found[name] = _rate(alert[within].sum(), years.sum())
    return found


def trailing_volatility(move: Array) -> Array:
    """Standard deviation of the last 60 moves before each bar, (n_series, n_bars)."""
    volatility = np.full_like(move, np.nan)
    for row, out in zip(move, volatility, strict=True):
        at = np.flatnonzero(np.isfinite(row))
        if len(at) > TRAILING:
            windows = np.lib.stride_tricks.sliding_window_view(row[at], TRAILING)[:-1]
            out[at[TRAILING:]] = windows.std(axis=1)
    return volatility


def terciles(volatility: Array, decided: Flags) -> Ints:
    """Which third of its instrument's own decided bars a bar is in: 0, 1, 2; -1 in none."""
    found = np.full(volatility.shape, -1)
    for row, chosen, out in zip(volatility, decided, found, strict=True):
        usable = chosen & np.isfinite(row)
        if usable.any():
            cuts = np.quantile(row[usable], (1 / 3, 2 / 3))
            out[usable] = np.searchsorted(cuts, row[usable], side="left")
    return found


def _by_instrument(years: Array, n_alerts: npt.NDArray[np.integer]) -> dict[str, float]:
    lived = years > 0
    chosen = years >= LONG_YEARS
    if not chosen.any():
        chosen = lived
    if not chosen.any():
        return {"p10": float("nan"), "p90": float("nan"), "n_instruments": 0}
    p10, p90 = np.quantile(n_alerts[chosen] / years[chosen], (0.1, 0.9))
    return {"p10": float(p10), "p90": float(p90), "n_instruments": int(chosen.sum())}
