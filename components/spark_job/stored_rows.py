"""What was judged, as rows of the tables that keep it. Pure."""

import json
from typing import Any

import pandas as pd

from components.features.channels import VECTOR
from components.spark_job.columns import OF_MARKET, VERDICT
from components.steps.judging import Rows

BAR = ["symbol", "ts"]


def tables_of(
    judged: pd.DataFrame, when: "pd.Series[pd.Timestamp]", interval: str, judge: str
) -> tuple[pd.DataFrame, Rows]:
    """The rows of the markets, and of the instruments.

    Parameters
    ----------
    judged : DataFrame
        In the columns JUDGED.
    when : Series
        When each bar became known, by its open.
    judge : str
        The name of who judged.
    """
    rows = judged.drop(columns="known_at")
    rows = rows.assign(interval=interval, known_at=judged["ts"].map(when))
    moves = rows.dropna(subset=["market_return"]).drop_duplicates(["watch_list", "ts"])
    moves = moves[["watch_list", "interval", "ts", "known_at", *OF_MARKET]]
    named = [*BAR, "interval", "known_at"]
    whole = [name for name, kind in VERDICT.items() if kind == "long"]
    verdicts = rows[[*named, *VERDICT]].assign(judge=judge).astype(dict.fromkeys(whole, "int64"))
    channels = rows[[*named, *VECTOR]].dropna(subset=list(VECTOR), how="all")
    scores, contributions = _beside(rows)
    return moves.rename(columns=OF_MARKET), Rows(verdicts, scores, channels, contributions)


def _beside(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The scores and contributions of the unusual bars as rows of their tables."""
    tables: tuple[list[Any], list[Any]] = ([], [])
    named = [*BAR, "interval", "known_at"]
    unusual = rows[rows["beside"].notna()]
    for bar, text in zip(unusual[named].to_dict("records"), unusual["beside"], strict=True):
        for table, own in zip(tables, json.loads(text), strict=True):
            table += [{**bar, **row} for row in own]
    return pd.DataFrame(tables[0]), pd.DataFrame(tables[1])
