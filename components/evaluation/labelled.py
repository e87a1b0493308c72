"""What people found alerts to be, and whether each method would tell the same bars."""

from typing import Any

import pandas as pd

from components.backtest import precision
from components.evaluation.told import Told


def labelled_bars(told: Told, labels: pd.DataFrame) -> dict[str, Any]:
    """The labelled bars on which there is a verdict.

    People label what the judge in force had told: for another method the precision holds for
    these bars alone, and says nothing of bars that only it would tell.

    Parameters
    ----------
    labels : DataFrame
        symbol, ts, label.

    Returns
    -------
    dict
        ``by_label``: of each finding the number of bars and the share told; ``precision`` of
        the told ones and the counts behind it.
    """
    rows = []
    for series, symbol in enumerate(told.symbols):
        own = labels[labels["symbol"] == symbol]
        stamps = pd.DatetimeIndex(own["ts"]).tz_convert(None).to_numpy().astype("datetime64[us]")
        places = told.place(series, stamps)
        for label, ts, at in zip(own["label"], stamps, places, strict=True):
            is_bar = at < told.ts.shape[1] and told.ts[series, at] == ts
            if is_bar and told.is_decided[series, at]:
                rows.append((str(label), bool(told.is_alert[series, at])))
    found = pd.DataFrame(rows, columns=["label", "is_told"]).astype({"is_told": bool})
    by_label = found.groupby("label")["is_told"].agg(["size", "mean"])
    return {
        "n": len(found),
        **precision(found.loc[found["is_told"], "label"]),
        "by_label": {
            str(label): {"n": int(row["size"]), "told": float(row["mean"])}
            for label, row in by_label.iterrows()
        },
    }
