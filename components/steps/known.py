"""When the last of what a row is made from became known."""

import numpy as np
import pandas as pd


def met(
    events: pd.DataFrame, bars: pd.DataFrame, after: "pd.Series[pd.Timestamp] | None" = None
) -> pd.DataFrame:
    """Events with the ``bar`` on which each counts: the instrument's first at or after its ``ts``.

    Those up to ``after`` have counted; those before an instrument's first bar, and those behind
    its last, count on none.

    Parameters
    ----------
    events, bars : DataFrame
        symbol, ts.
    after : Series, optional
        The last bar of each instrument that was seen already; NaT before the first.
    """
    if not len(events):
        return events.assign(bar=events["ts"])
    is_over = events["ts"] < events["symbol"].map(bars.groupby("symbol")["ts"].min())
    if after is not None:
        last = events["symbol"].map(after)
        is_over = is_over.where(last.isna(), events["ts"] <= last)
    events = events[~is_over].sort_values("ts", kind="stable")
    bars = bars[["symbol", "ts"]].assign(bar=bars["ts"]).sort_values("ts", kind="stable")
    found = pd.merge_asof(events, bars, on="ts", by="symbol", direction="forward")
    return found.dropna(subset=["bar"])


def raised(rows: pd.DataFrame, events: pd.DataFrame) -> pd.DataFrame:
    """Let ``known_at`` be no earlier than that of the events which count on the row's ``bar``.

    Rows without such a column stay as they are.
    """
    if not len(events) or "known_at" not in rows:
        return rows
    latest = events.groupby(["symbol", "bar"])["known_at"].max().rename("later")
    beside = rows[["symbol", "ts"]].merge(
        latest.rename_axis(["symbol", "ts"]).reset_index(), how="left", on=["symbol", "ts"]
    )
    return rows.assign(known_at=later(rows["known_at"], beside["later"]))


def later(one: pd.Series, other: pd.Series) -> pd.DatetimeIndex:
    """The later of two instants, place by place; NaT is earlier than any."""
    both = [pd.DatetimeIndex(each).as_unit("us").asi8 for each in (one, other)]
    return pd.DatetimeIndex(np.maximum(*both).view("M8[us]"), tz="UTC")
