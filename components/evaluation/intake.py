"""Candles on their way in: as a provider's reply, through the data checks."""

from dataclasses import dataclass

import pandas as pd

from components import checks
from components.records import CandleRequest, Parsed, RawReply
from components.sessions import Calendars
from components.tables import CANDLES

# Late enough for every bar to have closed.
LATER = pd.Timedelta(days=7)


@dataclass(frozen=True)
class Admitted:
    """Candles that were let in, and the rows kept aside with the check that they failed."""

    candles: pd.DataFrame
    aside: pd.DataFrame


def admit(candles: pd.DataFrame, calendars: Calendars, interval: str = "1d") -> Admitted:
    """Send candles through the data checks, as a provider's replies of one evening.

    Parameters
    ----------
    candles : DataFrame
        symbol, ts, open, high, low, close, volume, split.
    """
    rows = candles.sort_values(["symbol", "ts"], kind="stable", ignore_index=True)
    as_of = rows["ts"].max() + LATER
    parsed = [_reply(str(symbol), own, interval, as_of) for symbol, own in rows.groupby("symbol")]
    nothing = pd.DataFrame(columns=list(CANDLES.columns))
    good, _, aside = checks.apply(parsed, nothing, calendars)
    rows["ratio"] = rows.groupby("symbol")["split"].cumprod()
    kept = good[["symbol", "ts", "open", "high", "low", "close", "volume"]].merge(
        rows[["symbol", "ts", "ratio"]], on=["symbol", "ts"]
    )
    kept = kept.sort_values(["symbol", "ts"], kind="stable", ignore_index=True)
    # A split whose own bar is kept aside counts on the next one.
    before = kept.groupby("symbol")["ratio"].shift().fillna(1.0)
    kept["split"] = kept.pop("ratio") / before
    told = aside[aside["check_name"].isin(checks.TOLD)]
    return Admitted(kept, told[["symbol", "ts", "check_name"]].reset_index(drop=True))


def _reply(
    symbol: str, rows: pd.DataFrame, interval: str, as_of: pd.Timestamp
) -> tuple[RawReply, Parsed]:
    request = CandleRequest(symbol, interval, rows["ts"].min(), as_of, as_of)
    body = f"{symbol} {as_of.isoformat()}".encode()
    reply = RawReply("evaluation", request, f"planted:{symbol}", 200, as_of, body)
    sent = rows[["ts", "open", "high", "low", "close", "volume"]].reset_index(drop=True)
    sent = sent.assign(vwap=float("nan"), trades=float("nan"), line=range(len(sent)))
    is_split = (rows["split"] != 1).to_numpy()
    actions = pd.DataFrame(
        {
            "ts": rows["ts"][is_split],
            "kind": pd.Series("split", index=rows.index[is_split], dtype="str"),
            "value": rows["split"][is_split].astype(float),
        }
    ).reset_index(drop=True)
    return reply, Parsed(sent, actions)
