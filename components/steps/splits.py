"""Splits beside candles: how many new shares an old one became since the bar before."""

import pandas as pd

from components.steps.known import met, raised
from components.steps.parts import Parts
from components.tables import ACTIONS


def with_splits(
    parts: Parts,
    candles: pd.DataFrame,
    as_of: pd.Timestamp,
    after: "pd.Series[pd.Timestamp] | None" = None,
) -> pd.DataFrame:
    """Add ``split``: new shares per old share since the bar before, 1 on most bars.

    A split whose own bar is absent counts on the next bar. ``after`` is the last bar of each
    instrument that was judged already: what was split up to it has counted. A column ``known_at``
    becomes that of the split, where it is later.
    """
    first = candles["ts"].min()
    since = first if after is None else min(first, after.dropna().min())
    symbols = list(candles["symbol"].unique())
    actions = parts.warehouse.read(ACTIONS, symbols=symbols, since=since, as_of=as_of)
    splits = actions.loc[actions["kind"] == "split", ["symbol", "ts", "value", "known_at"]]
    counted = met(splits, candles, after)
    ratios = counted.groupby(["symbol", "bar"])["value"].prod()
    split = ratios.rename("split").rename_axis(["symbol", "ts"]).reset_index()
    rows = raised(candles, counted).merge(split, how="left", on=["symbol", "ts"])
    return rows.sort_values(["symbol", "ts"], kind="stable").fillna({"split": 1.0})
