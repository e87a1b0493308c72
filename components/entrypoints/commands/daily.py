"""Commands that fetch, judge and tell: ``run``, ``backfill``, ``replay``, ``features``."""

from typing import Annotated

import typer

from components.entrypoints.commands.opened import instant_of, parts_of, past, settings_of, span_of
from components.entrypoints.commands.options import (
    AsOfOption,
    DryRunOption,
    EngineOption,
    FirstDayOption,
    IntervalOption,
    JsonOption,
    KnownAtOption,
    SourceOption,
    SymbolsOption,
    UntilOption,
)
from components.entrypoints.commands.terminal import finished, progress


def run(
    context: typer.Context,
    as_of: AsOfOption = None,
    source: SourceOption = None,
    symbols: SymbolsOption = None,
    interval: IntervalOption = None,
    dry_run: DryRunOption = False,
) -> int:
    """Run the daily pipeline once. Repeating it is safe: an alert is told once.

    Example: python main.py run --source files --as-of 2024-03-12
    """
    from components.steps.runner import Runner

    settings = settings_of(source=source, symbols=symbols, interval=interval)
    instant = past(as_of, "--as-of")
    summary = context.obj(settings, instant, Runner(progress), dry=dry_run)
    return finished(summary)


def backfill(
    since: FirstDayOption,
    until: UntilOption = None,
    source: SourceOption = None,
    symbols: SymbolsOption = None,
    interval: IntervalOption = None,
    engine: EngineOption = "python",
) -> int:
    """Fetch and load old bars, without alerts. Interrupted, it goes on where it stopped.

    Example: python main.py backfill --since 2015-01-01 --symbols BTC-USD,SPY
    """
    from components.entrypoints import spark_batch
    from components.entrypoints.instants import fresh_instant
    from components.steps import backfill as fill

    settings = settings_of(source=source, symbols=symbols, interval=interval)
    spread = spark_batch.Fill(settings) if spark_batch.checked(engine, settings) else None
    span = span_of(since, until, instant_of(since, "--since"))
    with parts_of(settings, fresh_instant(), "backfill") as parts:
        return finished(fill(parts, *span, spread))


def replay(source: SourceOption = None, interval: IntervalOption = None) -> int:
    """Rebuild the processed layer and the warehouse from the raw lake, offline.

    Example: python main.py replay
    """
    from components.steps import replay as rebuild

    settings = settings_of(source=source, interval=interval)
    with parts_of(settings, instant_of(None, "now"), "replay") as parts:
        return finished(rebuild(parts))


def features(
    *,
    since: FirstDayOption,
    until: UntilOption = None,
    as_of: KnownAtOption = None,
    source: SourceOption = None,
    symbols: Annotated[
        str | None, typer.Option(help="Of the instruments held these alone, comma-separated.")
    ] = None,
    interval: IntervalOption = None,
    as_json: JsonOption = False,
) -> int:
    """Compute the features of the candles held and store them; repeated, it adds nothing.

    They lie in the warehouse's table `features` and, as Parquet, in the lake's folder `features`.
    Example: python main.py features --since 2024-01-01 --symbols BTC-USD,SPY
    """
    from components.entrypoints import computing

    settings = settings_of(source=source, interval=interval)
    instant = past(as_of, "--as-of")
    span = span_of(since, until, past(since, "--since"))
    with parts_of(settings, instant, "features") as parts:
        summary = computing.computed(parts, span, symbols)
        if as_json:
            typer.echo(computing.as_json(parts, span))
            return summary.exit_code
        return finished(summary)
