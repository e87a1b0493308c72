"""Small deterministic inputs for all tests."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from components.records import Alert, Chart, Finding, Followed, Message, SimilarBar, View
from components.similar import CHANNEL_NAMES

AS_OF = "2024-03-13T06:00:00+00:00"


def candles(
    n: int = 300,
    *,
    until: str = "2024-03-12",
    start_price: float = 100.0,
    volatility: float = 0.01,
    seed: int = 7,
) -> pd.DataFrame:
    """``n`` daily bars of a random walk, the last one at ``until``."""
    random = np.random.default_rng(seed)
    close = start_price * np.exp(np.cumsum(random.normal(0, volatility, n)))
    opened = np.append(start_price, close[:-1])
    reach = np.abs(random.normal(0, volatility / 2, (2, n)))
    return pd.DataFrame(
        {
            "ts": pd.date_range(end=pd.Timestamp(until, tz="UTC"), periods=n, freq="D"),
            "open": opened,
            "high": np.maximum(opened, close) * (1 + reach[0]),
            "low": np.minimum(opened, close) * (1 - reach[1]),
            "close": close,
            "volume": random.integers(900, 1100, n).astype(float),
            "split": 1.0,
        }
    )


def ending_in(bars: pd.DataFrame, **last: float) -> pd.DataFrame:
    """The same bars with other numbers in the last one."""
    bars = bars.copy()
    for name, value in last.items():
        bars.loc[bars.index[-1], name] = value
    return bars


def verdict(bars: pd.DataFrame, *, scale: float = 0.01, **other: Any) -> dict[str, Any]:
    """A verdict on the last of ``bars`` whose numbers agree with it."""
    last, before = bars.iloc[-1], bars.iloc[-2]
    return {
        "symbol": "ACME",
        "interval": "1d",
        "ts": last["ts"],
        "verdict": "anomaly",
        "votes": 1,
        "voters": 1,
        "p": 0.004,
        "rate": 4 / 252,
        "bars_lacking": 0,
        "body": last["close"] / last["open"] - 1,
        "return": last["close"] * last["split"] / before["close"] - 1,
        "scale": scale,
        **other,
    }


def history(
    bars: pd.DataFrame, own: Mapping[str, Any], *, larger: Iterable[int] = (), **channels: float
) -> pd.DataFrame:
    """Verdicts and channels: moves smaller than the last one's, but for the places in ``larger``.

    ``channels`` are those of the last bar; the others' are random.
    """
    n, move = len(bars), own["return"] if np.isfinite(own["return"]) else 0.05
    sizes = np.linspace(0.1, 0.9, n) * abs(move)
    sizes[list(larger)] = abs(move) * 1.5
    moves = sizes * np.where(np.arange(n) % 2, 1, -1)
    moves[0], moves[-1] = np.nan, own["return"]
    scales = np.full(n, own["scale"] if own["scale"] > 0 else 0.01)
    scales[-1] = own["scale"]
    z = np.random.default_rng(11).normal(0, 1, (n, len(CHANNEL_NAMES)))
    rows = pd.DataFrame(z, columns=list(CHANNEL_NAMES))
    rows["ts"] = bars["ts"].to_list()
    rows.loc[n - 1, list(CHANNEL_NAMES)] = [channels.get(name, np.nan) for name in CHANNEL_NAMES]
    return rows.assign(**{"return": moves, "scale": scales})


def scores(bars: pd.DataFrame, last: Mapping[str, float | None]) -> pd.DataFrame:
    """Each detector's p at the last bar: None for no row, NaN for a score without a reference.

    The base rule has its scores at all bars, ``last`` being the largest of them.
    """
    tables = []
    for name, p in last.items():
        rows = pd.DataFrame({"ts": bars["ts"], "detector": name, "score": 1.0, "p": p})
        rows["n_reference"] = 199 if p is not None and np.isnan(p) else 1000
        if name == "amplitude_zscore":
            rows["score"] = np.linspace(0.1, 1, len(bars)) * (p or 1.0)
        elif p is None:
            continue
        tables.append(rows if name == "amplitude_zscore" else rows.tail(1))
    columns = ["ts", "detector", "score", "p", "n_reference"]
    return pd.concat(tables) if tables else pd.DataFrame(columns=columns)


def finding(symbol: str = "ACME", **other: Any) -> Finding:
    """One unusual instrument, with a small chart."""
    chart = Chart(
        ts=tuple(f"2024-03-{day:02}T00:00:00+00:00" for day in range(1, 13)),
        close=(*(100.0 + day for day in range(11)), 97.0),
        high=(*(101.0 + day for day in range(11)), 110.0),
        low=(*(99.0 + day for day in range(11)), 96.0),
        judged="2024-03-12T00:00:00+00:00",
        score=5.0,
        past_scores=tuple(0.01 * n for n in range(300)),
        score_unit="times its usual move",
    )
    usual = Finding(
        symbol=symbol,
        ts="2024-03-12T00:00:00+00:00",
        verdict="anomaly",
        move=-0.118,
        body=-0.03,
        sigmas=5.0,
        p=0.004,
        rank=1,
        n_reference=300,
        market=0.001,
        reasons=("closed 11.8 % below the day before, at 97.00", "nothing as unusual was kept"),
        chart=chart,
    )
    return replace(usual, **other)


def alert(*findings: Finding, kind: str = "anomaly", **other: Any) -> Alert:
    """An alert about ``findings``; one of kind ``data`` has notes in their place."""
    usual = Alert(
        id=f"{kind}-1d-20240312",
        kind=kind,
        interval="1d",
        ts="2024-03-12T00:00:00+00:00",
        symbols=tuple(found.symbol for found in findings),
        headline=f"{len(findings)} of 6 instruments unusual",
        findings=findings,
    )
    return replace(usual, **other)


def market_alert(n_folded: int = 2, *beyond: Finding) -> Alert:
    """A market-wide day: those beyond the market, and ``n_folded`` that moved with it."""
    with_it = tuple(finding(f"S{n}", chart=None, reasons=(), level=2) for n in range(n_folded))
    return alert(
        *beyond,
        *with_it,
        kind="market",
        headline="Market-wide day (XNYS -3.1 %): with it and beyond it",
        notes=("the median of 60 instruments of XNYS moved -3.1 %, p = 0.0001",),
        calendar="XNYS",
        n_folded=n_folded,
    )


def rich_finding(symbol: str = "ACME") -> Finding:
    """One unusual instrument about which everything is known."""
    views = (View("market", "voted", 0.001), View("kNN", "against", 0.3))
    followed = (
        Followed(1, 1.1, 0.9, 1.3, -0.001, -0.004, 0.002),
        Followed(5, 1.4, 1.2, 1.6, 0.012, 0.004, 0.02),
        Followed(20, 1.2, 1.1, 1.3, 0.0, -0.02, 0.02),
    )
    usual = finding(symbol)
    assert usual.chart is not None
    return replace(
        usual,
        level=3,
        surprise=2.4,
        market_part=-0.031,
        own_part=-0.087,
        residual_p=0.003,
        views=(*views, View("pump", "abstained", why="no volume data")),
        similar=(SimilarBar("2020-03-12T00:00:00+00:00", 0.4, -0.09),),
        followed=followed,
        n_alike=25,
        chart=replace(usual.chart, market_part=-0.031, own_part=-0.087),
    )


def data_alert(*notes: str) -> Alert:
    """Trouble with data."""
    told = notes or ("BETA: the last bar is 2024-03-08; 2024-03-12 was expected",)
    return alert(kind="data", headline="data trouble with 2 instruments", notes=told)


def message(*alerts: Alert, **other: Any) -> Message:
    """What a run tells."""
    budget = "stated 4 alerts per instrument and year; realised so far 4.1 over 10.3 years"
    return replace(Message("run-20240312", AS_OF, alerts, budget), **other)
