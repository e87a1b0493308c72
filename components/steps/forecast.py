"""The run over payments: fetch what is new, judge it by its band, tell, and look ahead."""

from typing import TypeVar

import pandas as pd

from components.records import RawReply, RunSummary
from components.steps.band_pages import show_bands
from components.steps.bands import (
    Crowd,
    Recalled,
    judge_bands,
    recall_bands,
    record_bands,
    record_crowd,
)
from components.steps.close import close
from components.steps.gather import fetch, load, plan, refine
from components.steps.nowcasting import DAYS, nowcast
from components.steps.parts import Parts
from components.steps.runner import Runner
from components.steps.tell import tell

T = TypeVar("T")


def forecast(parts: Parts, run: Runner) -> RunSummary:
    """Judge the bins that closed, tell what lies outside of its band, predict the next ones.

    Safe to repeat: every write is keyed, and an alert is told once.
    """
    as_of = parts.run.as_of
    lately, replies = as_of - pd.Timedelta(days=DAYS), list[RawReply]()
    for wanted in run(plan, parts, as_of):
        raw = run(fetch, parts, wanted)
        run(load, parts, run(refine, parts, raw))
        replies += [reply for reply in raw.replies if reply.request.until > lately]
    for data_set in parts.watch.symbols:
        recalled = run(recall_bands, parts, data_set)
        if recalled is not None:
            run(judge, parts, recalled)
            run(nowcast, parts, recalled, replies)
    alerts = run(tell, parts, as_of)
    run(show_bands, parts)
    return run(close, parts, alerts)


def judge(parts: Parts, recalled: Recalled) -> None:
    """Judge and record the bins of a data set, some of its series at a time."""
    crowd, counts = Crowd.of(parts, recalled), parts.run.counts
    for piece in judge_bands(parts, recalled):
        n_new = record_bands(parts, recalled, piece)
        counts["bands_new"] = counts.get("bands_new", 0) + n_new
        crowd.add(recalled, piece)
    counts["series"] = counts.get("series", 0) + len(recalled.series)
    record_crowd(parts, recalled, crowd)
