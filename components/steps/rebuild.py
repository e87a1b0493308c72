"""Replay: the processed layer and the warehouse, made anew from the raw lake, offline."""

import json
from dataclasses import replace
from typing import Any

import pandas as pd

from components.ensemble import Ensemble
from components.parameters import from_said
from components.records import RunSummary
from components.steps.gather import load, refine
from components.steps.judging import judge_all
from components.steps.parts import Parts
from components.tables import ALERTS, DELIVERIES, INCIDENTS, RUNS, Table


def replay(parts: Parts) -> RunSummary:
    """Refine and load every raw batch in the order of its ``as_of``, then judge each run again.

    Nothing is fetched and nothing is told. What earlier runs told comes back from their
    manifests, so that the next run does not tell it twice.
    """
    keys = parts.lake.raw_manifests(parts.source.name, parts.watch.interval)
    for key in parts.progress(keys, len(keys), "refining and loading"):
        batch = parts.lake.read_raw(key)
        parts.run.failures.clear()
        load(parts, refine(parts, batch))
    parts.lake.compact_all(parts.watch.interval)
    manifests = [json.loads(body) for body in parts.lake.run_manifests()]
    manifests = sorted((m for m in manifests if _is_of(m, parts)), key=_when)
    runs = [manifest for manifest in manifests if manifest["command"] == "run"]
    for manifest in parts.progress(runs, len(runs), "judging"):
        judge_all(_as_then(parts, manifest), pd.Timestamp(manifest["as_of"]))
    for manifest in manifests:
        _restore(parts, manifest)
    parts.run.counts["batches"] = len(keys)
    parts.run.counts["runs"] = len(runs)
    return parts.run


def _is_of(manifest: dict[str, Any], parts: Parts) -> bool:
    """Whether a run was over the same source and bars of the same length."""
    own = parts.source.name, parts.watch.interval
    return own == (manifest["source"], manifest["settings"]["interval"])


def _when(manifest: dict[str, Any]) -> tuple[str, str]:
    return manifest["as_of"], manifest["id"]


def _as_then(parts: Parts, manifest: dict[str, Any]) -> Parts:
    """The same stores under the watch list, the judge and the budget of an earlier run."""
    judge = manifest["judge"]
    ensemble = Ensemble(
        tuple(judge["detectors"]),
        judge["alerts_per_year"],
        judge.get("quorum", 2),
        refit_every=parts.ensemble.refit_every,
        parameters=from_said(judge.get("parameters"), parts.calendars),
    )
    watch = replace(parts.watch, symbols=tuple(manifest["symbols"]))
    return replace(parts, watch=watch, ensemble=ensemble)


def _restore(parts: Parts, manifest: dict[str, Any]) -> None:
    with parts.warehouse.transaction():
        for table in (ALERTS, INCIDENTS, DELIVERIES):
            rows = manifest["told"][table.name]
            if rows:
                parts.warehouse.upsert(table, _typed(table, rows))
        row = {name: manifest.get(name) for name in RUNS.columns}
        row["counts"] = json.dumps(manifest["counts"], sort_keys=True)
        row["manifest"] = f"runs/{manifest['id']}/manifest.json"
        parts.warehouse.upsert(RUNS, _typed(RUNS, [row]))


def _typed(table: Table, rows: list[dict[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    for name, kind in table.columns.items():
        if kind == "timestamp":
            frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601")
    return frame
