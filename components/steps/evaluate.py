"""Evaluate: what the warehouse holds against what is known to be true; told to nobody."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components import evaluation
from components.documents import plain
from components.errors import NotEnoughBars, SettingsError
from components.evaluation import Trials, assess, assess_null
from components.steps.evaluation_page import page
from components.steps.gaps import regular
from components.steps.labels import labelled_bars
from components.steps.parts import Parts
from components.steps.splits import with_splits
from components.tables import CANDLES

EVENTS = Path(evaluation.__file__).with_name("events.csv")
COLUMNS = ["symbol", "ts", "open", "high", "low", "close", "volume", "hours"]

# Instruments of the simulated market.
N_QUIET = 40


@dataclass(frozen=True)
class Chosen:
    """Which part of the warehouse is evaluated, and how.

    ``subset`` instruments are drawn by ``seed``; 0 takes all.
    """

    symbols: tuple[str, ...] = ()
    since: pd.Timestamp | None = None
    subset: int = 0
    seed: int = 0
    rounds: int = 1


def evaluate(parts: Parts, chosen: Chosen, events: pd.DataFrame) -> dict[str, Any]:
    """Assess the ensemble and its baselines on the warehouse's candles.

    Raises
    ------
    SettingsError, NotEnoughBars
        When there is nothing to assess.
    """
    candles = read_candles(parts, chosen)
    trials = Trials(
        calendars=parts.calendars,
        interval=parts.watch.interval,
        events=events,
        labels=labelled_bars(
            parts.warehouse,
            sorted(candles["symbol"].unique()),
            parts.watch.interval,
            parts.run.as_of,
        ),
        seed=chosen.seed,
        rounds=chosen.rounds,
    )
    found = assess(parts.ensemble, candles, trials, progress=parts.progress)
    return as_json(found)


def evaluate_null(parts: Parts, chosen: Chosen) -> dict[str, Any]:
    """Assess the ensemble on a simulated market without anomalies."""
    n_series = chosen.subset or N_QUIET
    found = assess_null(
        parts.ensemble, n_series=n_series, seed=chosen.seed, progress=parts.progress
    )
    return as_json(found)


def read_candles(parts: Parts, chosen: Chosen) -> pd.DataFrame:
    """The candles known by now, with ``split``, new shares per old share."""
    interval, as_of = parts.watch.interval, parts.run.as_of
    held = _held(parts)
    wanted = [symbol for symbol in held if not chosen.symbols or symbol in chosen.symbols]
    if not wanted and parts.is_measured:
        raise SettingsError(
            f"{parts.run.command}: {parts.source.name!r} gives payment volumes, and this is about "
            "candles. Set TREMOR_SOURCE to a source of candles."
        )
    if not wanted:
        of = f" of {', '.join(chosen.symbols[:5])}" if chosen.symbols else ""
        raise SettingsError(
            f"{parts.run.command}: the warehouse holds no {interval} candles{of}. "
            "Run `python main.py backfill --since 2015-01-01` first."
        )
    for per_year in {parts.calendars.bars_per_year(symbol, interval) for symbol in wanted}:
        parts.ensemble.require_resolvable(per_year)
    if 0 < chosen.subset < len(wanted):
        random = np.random.default_rng([chosen.seed, 0])
        wanted = sorted(str(s) for s in random.choice(wanted, chosen.subset, replace=False))
    candles = parts.warehouse.read(
        CANDLES,
        symbols=wanted,
        interval=interval,
        since=chosen.since,
        as_of=as_of,
        columns=COLUMNS,
    )
    candles = regular(candles).drop(columns="hours")
    if candles.empty:
        needed = parts.ensemble.bars_before_verdict + 1
        raise NotEnoughBars(f"{parts.run.command} --since {chosen.since:%Y-%m-%d}", needed, 0)
    return with_splits(parts, candles, as_of)


def _held(parts: Parts) -> list[str]:
    return parts.warehouse.symbols(parts.watch.interval)


def shipped_events() -> pd.DataFrame:
    """The dated events that come with the program: symbol, date, what."""
    return read_events(EVENTS)


def read_events(path: Path) -> pd.DataFrame:
    """Dated events of a CSV file with the columns symbol, date, what.

    Raises
    ------
    SettingsError
        When the file is not there or has another shape.
    """
    try:
        rows = pd.read_csv(path, dtype=str, keep_default_na=False)
        rows["date"] = pd.to_datetime(rows["date"], format="%Y-%m-%d")
        return rows[["symbol", "date", "what"]]
    except (OSError, KeyError, ValueError) as error:
        raise SettingsError(
            f"{path}: no list of events ({str(error)[:120]}). It is a CSV file with the columns "
            "symbol, date (2024-03-12) and what."
        ) from None


def as_json(found: Mapping[str, Any]) -> dict[str, Any]:
    """The figures as a JSON file holds them."""
    return {name: plain(value) for name, value in found.items()}


def write(parts: Parts, result: Mapping[str, Any], folder: Path | None) -> tuple[str, str]:
    """Write the page and the JSON file to ``folder``, or beside the runs' reports.

    Raises
    ------
    SettingsError
        When the folder cannot be written.
    """
    files = {
        "evaluation.html": page(result).encode(),
        "evaluation.json": (json.dumps(result, indent=1) + "\n").encode(),
    }
    html, text = written(parts, files, folder)
    return html, text


def written(parts: Parts, files: Mapping[str, bytes], folder: Path | None) -> list[str]:
    """Write files by name to ``folder``, or beside the runs' reports; tell where they are.

    Raises
    ------
    SettingsError
        When the folder cannot be written.
    """
    if folder is None:
        return [parts.lake.put_run(parts.run.id, name, body) for name, body in files.items()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, body in files.items():
            (folder / name).write_bytes(body)
    except OSError as error:
        raise SettingsError(f"--out {folder}: {error.strerror}. Name another folder.") from None
    return [str(folder / name) for name in files]
