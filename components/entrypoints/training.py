"""What ``train`` and ``models`` do with their arguments; the commands stand in ``commands``."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, get_args, get_type_hints

import pandas as pd

from components.detectors.base import TrainableDetector
from components.documents import plain
from components.errors import ModelError, SettingsError
from components.model_files import hyper_of
from components.promotion import Condition
from components.registry import Version
from components.settings import Settings
from components.steps.evaluate import shipped_events
from components.steps.parts import Parts
from components.steps.train import Outcome, Wanted, judge_challenger, train
from components.steps.train_parameters import Estimated, train_parameters
from components.training import Recipe, trainable
from components.wiring import registry_of
from components.words import counted

# No hyper-parameter is larger.
MOST = 1_000_000

# Figures that stand beside each other when versions are compared; units in the names' words.
COMPARED = {
    "recall_planted": "planted anomalies found, a share",
    "recall_events": "dated events found, a share",
    "alerts_per_year_stated": "alerts stated per instrument and year",
    "alerts_per_year_realised": "alerts realised, judging alone",
    "delay_bars": "mean delay, bars",
    "stability": "rank correlation with an earlier fit",
    "distinct": "share of scores that differ",
    "lead_over_volatility_zscore": "found more than the plain z-score",
    "lead_over_volatility_zscore_low": "the same, lower bound",
    "lead_over_untrained_twin": "found more than its untrained twin",
    "lead_over_champion": "found more than the champion of then",
    "fit_seconds": "seconds to fit",
    "seconds": "seconds in all",
    "bytes": "size, bytes",
}


def trained(
    parts: Parts, settings: Settings, wanted: Wanted, detector: str, chosen: dict[str, Any]
) -> Outcome:
    """Train a detector, register it as challenger."""
    recipe = trainable(detector)
    names = tuple(chosen.get("features") or recipe.features)
    _require_known(names)
    hyper = hyper_from(recipe, detector, chosen.get("hyper") or [])
    made = Recipe(
        detector=replace(recipe, **hyper),  # type: ignore[type-var]
        name=detector,
        interval=settings.interval,
        features=names,
        is_pooled=not chosen.get("per_symbol"),
        is_tuned=not (chosen.get("fixed") or hyper),
    )
    return train(parts, registry_of(settings), made, wanted, shipped_events())


def parameters_trained(parts: Parts, settings: Settings, wanted: Wanted) -> Estimated:
    """Estimate where the features of the micro and macro views usually lie, and write it down."""
    return train_parameters(parts, wanted, settings.params_path)


def parameters_in_words(done: Estimated, *, as_json: bool) -> str:
    """What was written, for a person or a program."""
    classes = {name: done.file.intervals[done.interval][name] for name in done.classes}
    if as_json:
        said = {name: own.model_dump(mode="json") for name, own in classes.items()}
        path, version = str(done.path), done.file.version
        return json.dumps({"path": path, "version": version, done.interval: said}, indent=1)
    lines = [f"wrote {done.path}, version {done.file.version}"]
    for name, own in classes.items():
        on = own.estimated_on
        lines.append(
            f"{done.interval} bars of {name}: {counted(len(on.symbols), 'instrument')}, "
            f"{on.n_bars:,} bars, {_day(pd.Timestamp(on.first))} to {_day(pd.Timestamp(on.last))}"
        )
        for feature, place in own.features.items():
            lines.append(
                f"  {feature:16} centre {place.center:+8.3f}  spread {place.spread:7.3f}"
                f"  ({place.unit})"
            )
    return "\n".join(lines)


def hyper_from(detector: TrainableDetector, name: str, said: list[str]) -> dict[str, Any]:
    """Hyper-parameters from words such as ``n_clusters=12``, each of the detector's own kind.

    Raises
    ------
    SettingsError
        The detector has none of that name, or the value is not of its kind.
    """
    usual, kinds = hyper_of(detector), get_type_hints(type(detector))
    given: dict[str, Any] = {}
    for words in said:
        key, _, value = (part.strip() for part in words.partition("="))
        if key not in usual:
            own = ", ".join(f"{k}={v}" for k, v in usual.items())
            raise SettingsError(f"--set: {name} has no {key[:60]!r}. It has {own}")
        if get_args(kinds[key]):
            if value not in get_args(kinds[key]):
                choices = ", ".join(get_args(kinds[key]))
                raise SettingsError(f"--set: {key} is one of {choices}, not {value[:60]!r}")
            given[key] = value
            continue
        try:
            given[key] = kinds[key](value)
        except ValueError:
            given[key] = math.nan
        least = 0 if key == "seed" else math.nextafter(0, 1)
        if not least <= given[key] <= MOST:
            kind = "a whole number" if kinds[key] is int else "a number"
            raise SettingsError(
                f"--set: {key} is {kind} above 0, at most {MOST:,}, not {value[:60]!r}"
            )
    return given


def _require_known(names: tuple[str, ...]) -> None:
    from components.features import FEATURES

    for name in names:
        if names.count(name) > 1:
            raise SettingsError(f"--features: {name[:60]} is named twice")
        if name not in FEATURES:
            raise SettingsError(
                f"--features: no feature is called {name[:60]!r}. Known: {', '.join(FEATURES)}"
            )
        if not FEATURES[name].is_scale_free:
            raise SettingsError(
                f"--features: {name} is in the price's unit, and a model over instruments needs "
                "features without one. Leave it out."
            )


def in_words(outcome: Outcome) -> str:
    """What a training came to, for a person."""
    cut, kept = outcome.split, outcome.trained
    hyper = ", ".join(f"{key} {value}" for key, value in kept.hyper.items())
    lines = [
        f"trained {kept.detector} ({hyper}), version {outcome.version}: the challenger",
        f"bars to {_day(cut.until)}; held out since {_day(cut.since)}, {cut.n_embargo} bars later",
        f"{outcome.held.n_plants:,} planted anomalies on {outcome.held.n_bars:,} held-out bars, "
        f"each method at {outcome.held.alerts_per_year:g} alerts per instrument and year:",
    ]
    for name, found in outcome.held.figures.items():
        lines.append(f"  {name:18} finds {found['recall']:6.1%}")
    return "\n".join([*lines, *checklist(outcome.asked), _next(outcome)])


def checklist(asked: tuple[Condition, ...]) -> list[str]:
    """The conditions of promotion, a line each."""
    return [f"  {'yes' if each.is_met else 'NO ':3} {each.name}: {each.words}" for each in asked]


def _next(outcome: Outcome) -> str:
    if all(each.is_met for each in outcome.asked):
        return "It may judge: `python main.py models promote`."
    return "It has not earned promotion: the champion, or the untrained default, goes on judging."


def outcome_json(outcome: Outcome) -> str:
    """The same for a program."""
    said = {
        "version": outcome.version,
        "detector": outcome.trained.detector,
        "hyper": dict(outcome.trained.hyper),
        "split": {k: str(v) for k, v in asdict(outcome.split).items()},
        "figures": outcome.figures,
        "conditions": [asdict(each) for each in outcome.asked],
    }
    return json.dumps(plain(said), indent=1)


def listed(settings: Settings) -> pd.DataFrame:
    """The registered models of the interval, newest first."""
    models = registry_of(settings)
    rows = [
        {
            "version": each.number,
            "alias": ",".join(each.aliases),
            "detector": each.tags.get("detector", ""),
            "trained_until": each.tags.get("until", "")[:10],
            "made_at": each.made_at,
            **{
                name: models.figures(each).get(name, float("nan"))
                for name in ("recall_planted", "alerts_per_year_realised")
            },
        }
        for each in models.versions()
    ]
    return pd.DataFrame(rows)


def compared(settings: Settings, which: list[str]) -> pd.DataFrame:
    """The figures of some models side by side; of champion and challenger when none is named.

    Raises
    ------
    ModelError
        There is no such model, or none at all.
    """
    models = registry_of(settings)
    aliased = [each.number for each in reversed(models.versions()) if each.aliases]
    if not (which or aliased):
        raise ModelError(
            f"{models.name} has neither a champion nor a challenger. "
            "`python main.py train` makes one"
        )
    versions = [models.version(each) for each in which or aliased]
    columns = {_title(each): models.figures(each) for each in versions}
    rows = [
        {"figure": words, **{title: found.get(name) for title, found in columns.items()}}
        for name, words in COMPARED.items()
    ]
    return pd.DataFrame(rows)


def _title(version: Version) -> str:
    aliases = f" {','.join(version.aliases)}" if version.aliases else ""
    return f"{version.tags.get('detector', '')}@{version.number}{aliases}"


def promoted(parts: Parts, settings: Settings, which: str, say: Callable[[str], object]) -> None:
    """Promote a version, when it has earned it on held-out time.

    Raises
    ------
    ModelError
        It has not; or the registry does not answer.
    """
    models = registry_of(settings)
    version = models.version(which)
    if "champion" in version.aliases:
        raise ModelError(f"version {version.number} is the champion already")
    asked = judge_challenger(parts, models, version, settings.symbols)
    for line in checklist(asked):
        say(line)
    lacking = [each for each in asked if not each.is_met]
    if lacking:
        raise ModelError(
            f"version {version.number} is not promoted: {lacking[0].name}? {lacking[0].words}. "
            "The champion, or the untrained default, goes on judging"
        )
    models.promote(version)
    say(f"version {version.number} is the champion of {models.name}: the next run judges with it")


def _day(instant: pd.Timestamp) -> str:
    return f"{instant:%Y-%m-%d %H:%M}" if instant != instant.normalize() else f"{instant:%Y-%m-%d}"
