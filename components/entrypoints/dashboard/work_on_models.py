"""Training and promotion as pieces of work: what the command line does, told to a page."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, cast

import pandas as pd

from components.detectors.base import TrainableDetector
from components.documents import plain
from components.entrypoints import training
from components.entrypoints.dashboard.searching import PARAMETERS, searched
from components.errors import ModelError
from components.registry import Registry
from components.settings import Settings
from components.steps.evaluate import Chosen, shipped_events
from components.steps.parts import Parts
from components.steps.train import Outcome, Wanted
from components.steps.train import train as train_recipe
from components.training import Recipe, trainable
from components.wiring import registry_of


def train(parts: Parts, settings: Settings, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Train what was asked for; the outcome in words, its checklist, and where its run lies."""
    wanted = wanted_of(settings, asked)
    if asked["detector"] == PARAMETERS:
        done = training.parameters_trained(parts, settings, wanted)
        return {"parameters": json.loads(training.parameters_in_words(done, as_json=True))}
    if asked.get("search"):
        n_tried, outcome = _searched(parts, settings, wanted, asked)
    else:
        outcome = training.trained(parts, settings, wanted, asked["detector"], dict(asked))
        is_tuned = not (asked.get("fixed") or asked.get("hyper"))
        n_tried = len(trainable(asked["detector"]).grid()) if is_tuned else 1
    return {
        "words": training.in_words(outcome),
        "n_tried": n_tried,
        "fit_seconds": float(outcome.figures["fit_seconds"]),
        **json.loads(training.outcome_json(outcome)),
        "contest": plain(
            {
                "methods": {name: dict(found) for name, found in outcome.held.figures.items()},
                "shares": {
                    name: {kind: asdict(share) for kind, share in shares.items()}
                    for name, shares in outcome.held.shares.items()
                },
                "n_plants": outcome.held.n_plants,
                "n_bars": outcome.held.n_bars,
                "alerts_per_year": outcome.held.alerts_per_year,
            }
        ),
        "run": place_of(registry_of(settings), outcome.version),
    }


def wanted_of(settings: Settings, asked: Mapping[str, Any]) -> Wanted:
    """The bars to train on, and how they are cut in time."""
    since = pd.Timestamp(asked["since"], tz="UTC") if asked.get("since") else None
    chosen = Chosen(settings.symbols, since, seed=int(asked.get("seed", 0)))
    return Wanted(chosen, float(asked.get("share", 0.7)), int(asked.get("rounds", 3)))


def _searched(
    parts: Parts, settings: Settings, wanted: Wanted, asked: Mapping[str, Any]
) -> tuple[int, Outcome]:
    name = asked["detector"]
    detector = trainable(name)
    search = searched(detector, name, asked["search"])
    recipe = Recipe(
        # Of what tuning asks a detector for it has all; its grid holds others than itself.
        detector=cast("TrainableDetector", search),
        name=name,
        interval=settings.interval,
        features=tuple(asked.get("features") or detector.features),
        is_pooled=not asked.get("per_symbol"),
    )
    outcome = train_recipe(parts, registry_of(settings), recipe, wanted, shipped_events())
    return len(search.candidates), outcome


def place_of(models: Registry, version: str) -> dict[str, str]:
    """Where a version's run lies in MLflow: experiment, run, and a link where there is a server."""
    run = models.version(version).run
    # The address may hold a password: it is no part of what is shown.
    server = models.url.rstrip("/") if models.url.startswith(("http://", "https://")) else ""
    is_plain = server and "@" not in server
    return {
        "experiment": models.name,
        "run": run,
        "place": "the server of TREMOR_MLFLOW_URL" if models.url else str(models.folder),
        "link": f"{server}/#/runs/{run}" if is_plain else "",
    }


def promote(parts: Parts, settings: Settings, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Promote a version when it has earned it; a refusal carries the checklist."""
    lines: list[str] = []
    try:
        training.promoted(parts, settings, str(asked["version"]), lines.append)
    except ModelError as error:
        for line in lines:
            error.add_note(line)
        raise
    return {"words": lines[-1], "lines": lines[:-1]}
