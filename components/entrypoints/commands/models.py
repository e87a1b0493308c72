"""``train``, and ``models``: what was trained, compared, promoted, and asked."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from components.entrypoints.commands.opened import first_day, past, reading_parts, settings_of
from components.entrypoints.commands.options import (
    IntervalOption,
    JsonOption,
    KnownAtOption,
    LaterThanOption,
    Rounds,
    SharedSeed,
    SymbolsOption,
)
from components.entrypoints.commands.terminal import progress, show_tables
from components.errors import SettingsError

if TYPE_CHECKING:
    from components.settings import Settings

DetectorArgument = Annotated[
    str,
    typer.Argument(
        help=(
            "kmeans, gmm, isolation_forest, lstm_autoencoder, pca or mahalanobis; or parameters, "
            "of the micro and macro views; or forecasters, of payment volumes."
        ),
        show_default=True,
    ),
]

# What `train` makes beside detectors.
NO_DETECTORS = ("parameters", "forecasters")


def train(  # noqa: PLR0913 - each option of a command is an argument
    detector: DetectorArgument = "gmm",
    *,
    since: LaterThanOption = None,
    share: Annotated[
        float, typer.Option(min=0.1, max=0.95, help="Of all bars, before the cut in time.")
    ] = 0.7,
    features: Annotated[
        str | None, typer.Option(help="Names of features, comma-separated. Default: the channels.")
    ] = None,
    per_symbol: Annotated[
        bool, typer.Option("--per-symbol", help="A model for each instrument, not one for all.")
    ] = False,
    fixed: Annotated[
        bool, typer.Option("--fixed", help="No tuning: the detector's own numbers.")
    ] = False,
    hyper: Annotated[
        str | None,
        typer.Option("--set", help="Its numbers, not tuned: n_clusters=12,name=value."),
    ] = None,
    seed: SharedSeed = 0,
    rounds: Rounds = 3,
    symbols: SymbolsOption = None,
    interval: IntervalOption = None,
    as_json: JsonOption = False,
) -> int:
    """Train a detector on the candles held, and register it as challenger; nobody is told.

    It is held against the plain z-score, an untrained twin and the champion, on later time.
    `parameters` are no model: where the features of the micro and macro views usually lie is
    written to TREMOR_PARAMS_FILE, and whoever judges takes it from there.
    Example: python main.py train kmeans --since 2015-01-01
    """
    from components.entrypoints import training

    if detector in NO_DETECTORS and (features or per_symbol or hyper):
        raise SettingsError(
            f"train {detector} takes no --features, --per-symbol or --set: leave them out."
        )
    if detector == "forecasters":
        return _forecasters_tried(symbols, interval, as_json)
    if detector == "parameters":
        settings = settings_of(symbols=symbols, interval=interval)
        wanted = _wanted(settings, since, seed, share=share)
        with reading_parts(settings, "train") as parts:
            done = training.parameters_trained(parts, settings, wanted)
        typer.echo(training.parameters_in_words(done, as_json=as_json))
        return 0

    chosen = {
        "features": [n.strip() for n in (features or "").split(",") if n.strip()],
        "hyper": [n.strip() for n in (hyper or "").split(",") if n.strip()],
        "per_symbol": per_symbol,
        "fixed": fixed,
    }
    settings = settings_of(symbols=symbols, interval=interval)
    wanted = _wanted(settings, since, seed, share=share, rounds=rounds)
    with reading_parts(settings, "train") as parts:
        outcome = training.trained(parts, settings, wanted, detector, chosen)
    typer.echo(training.outcome_json(outcome) if as_json else training.in_words(outcome))
    return 0


def _forecasters_tried(symbols: str | None, interval: str | None, as_json: bool) -> int:
    from components.entrypoints import forecasting
    from components.entrypoints.instants import fresh_instant

    settings = settings_of(symbols=symbols, interval=interval)
    found = forecasting.tried(settings, fresh_instant(), progress)
    words = forecasting.trials_in_words(found, settings.coverage)
    typer.echo(forecasting.trials_as_json(found) if as_json else words)
    return 0


def _wanted(
    settings: "Settings", since: str | None, seed: int, share: float = 0.7, rounds: int = 1
) -> Any:
    from components.steps.evaluate import Chosen
    from components.steps.train import Wanted

    start = first_day(since)
    return Wanted(Chosen(settings.symbols, start, seed=seed), share, rounds)


models = typer.Typer(help="List trained models, compare them, promote one, or go back.")


@models.command("list")
def list_models(interval: IntervalOption = None, as_json: JsonOption = False) -> int:
    """List the registered models, newest first.

    Example: python main.py models list
    """
    from components.entrypoints import training

    show_tables({"models": training.listed(settings_of(interval=interval))}, as_json)
    return 0


@models.command()
def compare(
    versions: Annotated[
        list[str] | None, typer.Argument(help="Versions or aliases. Default: both aliases.")
    ] = None,
    interval: IntervalOption = None,
    as_json: JsonOption = False,
) -> int:
    """Show the figures of models side by side.

    Example: python main.py models compare champion 7
    """
    from components.entrypoints import training

    show_tables(
        {"figures": training.compared(settings_of(interval=interval), versions or [])}, as_json
    )
    return 0


@models.command()
def promote(
    version: Annotated[str, typer.Argument(help="A version or alias.")] = "challenger",
    symbols: SymbolsOption = None,
    interval: IntervalOption = None,
) -> int:
    """Let a model judge, when it has earned it on time that its training did not see.

    Example: python main.py models promote challenger
    """
    from components.entrypoints import training

    settings = settings_of(symbols=symbols, interval=interval)
    with reading_parts(settings, "models") as parts:
        training.promoted(parts, settings, version, typer.echo)
    return 0


@models.command()
def rollback(interval: IntervalOption = None) -> int:
    """Make the champion before this one champion again.

    Example: python main.py models rollback
    """
    from components.wiring import registry_of

    kept = registry_of(settings_of(interval=interval))
    typer.echo(f"version {kept.roll_back()} is the champion of {kept.name} again")
    return 0


@models.command()
def score(
    version: Annotated[str, typer.Argument(help="A version or alias.")] = "champion",
    as_of: KnownAtOption = None,
    symbols: SymbolsOption = None,
    interval: IntervalOption = None,
    as_json: JsonOption = False,
) -> int:
    """Score the newest stored bar of each instrument, and say what each score is made of.

    Features come from the feature server of TREMOR_FEAST_URL, else from the warehouse.
    Example: python main.py models score champion --symbols SPY,QQQ
    """
    from components.entrypoints import scoring

    settings = settings_of(symbols=symbols, interval=interval)
    instant = past(as_of, "--as-of")
    found = scoring.scored(settings, version, instant, is_now=as_of is None)
    for failure in found.failures:
        typer.echo(f"failed: {failure.symbol}: {failure.message}", err=True)
    typer.echo(scoring.as_json(found) if as_json else scoring.in_words(found, settings.interval))
    return 3 if found.failures else 0
