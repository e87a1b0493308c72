"""Commands that try and measure: ``backtest``, ``evaluate``, ``forecast``."""

from pathlib import Path
from typing import Annotated

import typer

from components.entrypoints.commands.opened import (
    first_day,
    instant_of,
    past,
    reading_parts,
    settings_of,
)
from components.entrypoints.commands.options import (
    AsOfOption,
    DryRunOption,
    EngineOption,
    IntervalOption,
    JsonOption,
    LaterThanOption,
    SourceOption,
    SymbolsOption,
    UntilOption,
)
from components.entrypoints.commands.terminal import finished, progress, show_tables
from components.errors import SettingsError


def backtest(  # noqa: PLR0913 - each option of a command is an argument
    *,
    since: Annotated[str | None, typer.Option(help="First day replayed.")] = None,
    until: UntilOption = None,
    alerts_per_year: Annotated[
        float | None, typer.Option(help="Another budget, shown beside the one in force.")
    ] = None,
    quorum: Annotated[int | None, typer.Option(help="Another number of votes needed.")] = None,
    detectors: Annotated[
        str | None, typer.Option(help="Other views, comma-separated, beside those in force.")
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="Time of each day's run, UTC. Default: as it was run.")
    ] = None,
    source: SourceOption = None,
    symbols: SymbolsOption = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the page and the JSON.")] = None,
    prefixes: Annotated[
        int | None,
        typer.Option(min=1, help="Instead: judge N random histories cut short, and compare."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the random histories.")] = 0,
    engine: EngineOption = "python",
    as_json: JsonOption = False,
) -> int:
    """Replay whole days from the raw lake and count what would have been told; nobody is told.

    Example: python main.py backtest --since 2024-01-01 --until 2024-03-01 --alerts-per-year 8
    """
    from functools import partial

    from components.entrypoints import backtesting, spark_batch
    from components.wiring import open_parts

    settings = settings_of(source=source, symbols=symbols)
    is_spread = spark_batch.checked(engine, settings)
    now = instant_of(None, "now")
    opened = partial(open_parts, as_of=now, command="backtest", reads_only=True, progress=progress)
    if prefixes is not None:
        with opened(settings) as parts:
            return backtesting.prefixes_replayed(parts, prefixes, seed, is_json=as_json)
    if since is None:
        raise SettingsError("backtest needs --since, the first day to replay, or --prefixes N.")
    wanted = backtesting.span(instant_of(since, "--since"), instant_of(until, "--until"), at)
    other = {"alerts_per_year": alerts_per_year, "quorum": quorum, "detectors": detectors}
    is_tried = any(value is not None for value in other.values())
    then = settings_of(source=source, symbols=symbols, **other) if is_tried else None
    bench = spark_batch.bench(settings) if is_spread else None
    return backtesting.backtested(
        opened, settings, then, wanted, out=out, is_json=as_json, bench=bench
    )


def evaluate(  # noqa: PLR0913, PLR0917 - the options of the command
    subset: Annotated[
        int,
        typer.Option(min=0, max=100_000, help="So many instruments, drawn by the seed; 0: all."),
    ] = 0,
    seed: Annotated[
        int, typer.Option(min=0, max=2**31, help="Of plants, draws, random alerts.")
    ] = 0,
    rounds: Annotated[
        int, typer.Option(min=1, max=100, help="Panels planted, each otherwise.")
    ] = 1,
    alerts_per_year: Annotated[float | None, typer.Option(help="Another budget to try.")] = None,
    detectors: Annotated[
        str | None, typer.Option(help="Other detectors to try, comma-separated.")
    ] = None,
    symbols: SymbolsOption = None,
    since: LaterThanOption = None,
    events: Annotated[
        Path | None, typer.Option(help="Dated events: a CSV file of symbol, date, what.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the page. Default: the lake's runs.")
    ] = None,
    null: Annotated[
        bool, typer.Option("--null", help="A simulated market without anomalies instead.")
    ] = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Explore the instruments instead: judge nothing.")
    ] = False,
    source: SourceOption = None,
    interval: IntervalOption = None,
    as_json: JsonOption = False,
) -> int:
    """Prove the alarm rate and what is found, on the candles held, beside the baselines.

    With --profile: coverage, volatility, large moves, volume spikes, correlation, consistency.
    Tells nobody and changes no verdict. Example: python main.py evaluate --subset 20 --seed 1
    """
    from components.entrypoints import evaluating, exploring
    from components.steps.evaluate import Chosen

    judge = {"detectors": detectors, "alerts_per_year": alerts_per_year}
    if profile:
        exploring.require_alone(rounds=rounds > 1, events=events, null=null, **judge)
        # Where nothing is judged no trained model is wanted.
        judge = {"model": "none"}
    settings = settings_of(source=source, symbols=symbols, interval=interval, **judge)
    start = first_day(since)
    chosen = Chosen(settings.symbols, start, subset, seed, rounds)
    with reading_parts(settings, "profile" if profile else "evaluate") as parts:
        if profile:
            exploring.profiled(parts, chosen, out=out, as_json=as_json)
        else:
            evaluating.evaluated(
                parts, chosen, is_null=null, events=events, out=out, as_json=as_json
            )
    return 0


def forecast(  # noqa: PLR0913 - each option of a command is an argument
    *,
    as_of: AsOfOption = None,
    source: Annotated[str | None, typer.Option(help="athena, sql or files.")] = None,
    symbols: Annotated[str | None, typer.Option(help="Data sets, comma-separated.")] = None,
    interval: Annotated[str | None, typer.Option(help="Length of a bin: 2h.")] = None,
    dry_run: DryRunOption = False,
    csv: Annotated[
        Path | None, typer.Option(help="Instead: write the stored bands to this file.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="With --csv: the first day.")] = None,
    day: Annotated[
        Path | None,
        typer.Option(help="Instead: one day's counts with reference columns, a CSV file."),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """What the next bins of payments should bring, and which lay outside of their band.

    Fetches what is new, judges closed bins, tells alarms once, and predicts a day of bins.
    Repeating it is safe. Example: python main.py forecast --source sql
    """
    from components.entrypoints import forecasting
    from components.steps.runner import Runner

    settings = settings_of(source=source, symbols=symbols, interval=interval)
    if day is not None:
        table, said = forecasting.day_tested(day, settings.coverage)
        if as_json:
            show_tables({"bins": table}, as_json)
        else:
            typer.echo(said)
        return 0
    instant = past(as_of, "--as-of")
    if csv is not None:
        first = first_day(since)
        typer.echo(forecasting.exported(settings, instant, first, csv))
        return 0
    if since is not None:
        raise SettingsError("--since goes with --csv: it is the first day that is written.")
    summary, shown = forecasting.forecasted(settings, instant, Runner(progress), dry=dry_run)
    if as_json:
        typer.echo(forecasting.as_json(shown))
        return summary.exit_code
    typer.echo(forecasting.in_words(shown, settings.time_zone, settings.payment_unit))
    return finished(summary)
