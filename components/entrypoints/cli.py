"""The command line. Heavy modules are imported by the command that needs them."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from components import logs
from components.entrypoints.exits import exit_code
from components.errors import AnotherRunAtWork, SettingsError

if TYPE_CHECKING:
    import pandas as pd

    from components.records import RunSummary
    from components.settings import Settings

app = typer.Typer(
    add_completion=False,
    no_args_is_help=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="What was unusual in the market, told once, at the alarm rate that you chose.",
)

SourceOption = Annotated[
    str | None, typer.Option(help="yahoo, binance, polygon, files, sample, ...")
]
SymbolsOption = Annotated[str | None, typer.Option(help="Instruments, comma-separated.")]
IntervalOption = Annotated[str | None, typer.Option(help="Length of a bar.")]
EngineOption = Annotated[
    str, typer.Option(help="python, or spark: instruments spread over a cluster.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="For a program to read.")]


def command_line(daily: Callable[..., "RunSummary"]) -> None:
    """Parse the arguments, do what they say, and exit with the documented code.

    What the user can mend is one line and exit code 2; a bug keeps its traceback.
    """
    logs.start(sys.stderr)
    sys.exit(exit_code(lambda: _done(daily), "See `python main.py --help`."))


def _done(daily: Callable[..., "RunSummary"]) -> int | None:
    try:
        code: int | None = app(standalone_mode=False, obj=daily)
    except AnotherRunAtWork as error:
        typer.echo(str(error), err=True)
        return 0
    return code


@app.callback(invoke_without_command=True)
def default(context: typer.Context) -> int | None:
    """What was unusual in the market, told once, at the alarm rate that you chose.

    Without a command: the daily pipeline once, as ``run``.
    """
    if context.invoked_subcommand is None:
        return run(context)
    return None


@app.command()
def run(
    context: typer.Context,
    as_of: Annotated[
        str | None, typer.Option(help="Judge what had closed by this instant, UTC. Default: now.")
    ] = None,
    source: SourceOption = None,
    symbols: SymbolsOption = None,
    interval: IntervalOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell nobody; print what would be told.")
    ] = False,
) -> int:
    """Run the daily pipeline once. Repeating it is safe: an alert is told once.

    Example: python main.py run --source files --as-of 2024-03-12
    """
    from components.steps.runner import Runner

    settings = _settings(source=source, symbols=symbols, interval=interval)
    instant = _past(_instant(as_of, "--as-of"), "--as-of")
    summary = context.obj(settings, instant, Runner(_progress), dry=dry_run)
    return _finished(summary)


@app.command()
def backfill(
    since: Annotated[str, typer.Option(help="First day wanted.")],
    until: Annotated[str | None, typer.Option(help="Day after the last. Default: now.")] = None,
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

    settings = _settings(source=source, symbols=symbols, interval=interval)
    spread = spark_batch.Fill(settings) if spark_batch.checked(engine, settings) else None
    span = _instant(since, "--since"), _instant(until, "--until")
    if span[0] >= span[1]:
        raise SettingsError(f"--since {since} is not before --until {until or 'now'}.")
    with _parts(settings, fresh_instant(), "backfill") as parts:
        return _finished(fill(parts, *span, spread))


@app.command()
def replay(source: SourceOption = None, interval: IntervalOption = None) -> int:
    """Rebuild the processed layer and the warehouse from the raw lake, offline.

    Example: python main.py replay
    """
    from components.steps import replay as rebuild

    settings = _settings(source=source, interval=interval)
    with _parts(settings, _instant(None, "now"), "replay") as parts:
        return _finished(rebuild(parts))


@app.command()
def features(
    *,
    since: Annotated[str, typer.Option(help="First day wanted.")],
    until: Annotated[str | None, typer.Option(help="Day after the last. Default: now.")] = None,
    as_of: Annotated[
        str | None, typer.Option(help="With what was known at this instant, UTC. Default: now.")
    ] = None,
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

    settings = _settings(source=source, interval=interval)
    instant = _past(_instant(as_of, "--as-of"), "--as-of")
    span = _past(_instant(since, "--since"), "--since"), _instant(until, "--until")
    if span[0] >= span[1]:
        raise SettingsError(f"--since {since} is not before --until {until or 'now'}.")
    with _parts(settings, instant, "features") as parts:
        summary = computing.computed(parts, span, symbols)
        if as_json:
            typer.echo(computing.as_json(parts, span))
            return summary.exit_code
        return _finished(summary)


@app.command()
def backtest(  # noqa: PLR0913 - each option of a command is an argument
    *,
    since: Annotated[str | None, typer.Option(help="First day replayed.")] = None,
    until: Annotated[str | None, typer.Option(help="Day after the last. Default: now.")] = None,
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

    settings = _settings(source=source, symbols=symbols)
    is_spread = spark_batch.checked(engine, settings)
    now = _instant(None, "now")
    opened = partial(open_parts, as_of=now, command="backtest", reads_only=True, progress=_progress)
    if prefixes is not None:
        with opened(settings) as parts:
            return backtesting.prefixes_replayed(parts, prefixes, seed, is_json=as_json)
    if since is None:
        raise SettingsError("backtest needs --since, the first day to replay, or --prefixes N.")
    wanted = backtesting.span(_instant(since, "--since"), _instant(until, "--until"), at)
    other = {"alerts_per_year": alerts_per_year, "quorum": quorum, "detectors": detectors}
    is_tried = any(value is not None for value in other.values())
    then = _settings(source=source, symbols=symbols, **other) if is_tried else None
    bench = spark_batch.bench(settings) if is_spread else None
    return backtesting.backtested(
        opened, settings, then, wanted, out=out, is_json=as_json, bench=bench
    )


@app.command()
def stream(  # noqa: PLR0913 - each option of a command is an argument
    *,
    feed: Annotated[
        str | None, typer.Option(help="binance, polygon or replay. Default: the source's own.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="Of a replay: the first bar.")] = None,
    until: Annotated[str | None, typer.Option(help="Of a replay: the bar after the last.")] = None,
    speed: Annotated[
        str, typer.Option(help="Of a replay: 1 is real time, 60 a minute a second; max.")
    ] = "max",
    keep: Annotated[
        bool, typer.Option("--keep", help="Of a replay: keep what it finds, and tell it.")
    ] = False,
    part: Annotated[
        str, typer.Option(help="With a broker: feed sends candles, judge judges them; both.")
    ] = "both",
    csv: Annotated[
        Path | None, typer.Option(help="A folder that takes the log as CSV, a file a day.")
    ] = None,
    source: SourceOption = None,
    symbols: SymbolsOption = None,
    interval: IntervalOption = None,
) -> int:
    """Judge candles as they close, minute by minute, until it is stopped.

    A replay plays stored candles again; without --keep nothing of it stays.
    Example: python main.py stream --source binance --symbols BTCUSDT,ETHUSDT
    """
    from components.entrypoints import stream_command

    settings = stream_command.stream_settings(source=source, symbols=symbols, interval=interval)
    span = [None if day is None else _instant(day, "--since") for day in (since, until)]
    wanted = stream_command.wanted_of(
        settings,
        feed,
        since=span[0],
        until=span[1],
        speed=speed,
        is_kept=keep,
        part=part,
        csv=csv,
    )
    return stream_command.streamed(settings, wanted, _progress)


@app.command()
def doctor(
    *,
    source: SourceOption = None,
    symbols: SymbolsOption = None,
    interval: IntervalOption = None,
    as_json: JsonOption = False,
) -> int:
    """Try settings, versions, disk, clock, lake, warehouse, source and channels; tell nobody.

    Exit code 2 when a run would fail, and what to do about it.
    Example: python main.py doctor
    """
    from dataclasses import asdict

    from components.entrypoints import doctor as examiner

    settings = _settings(source=source, symbols=symbols, interval=interval)
    seen = []
    for finding in examiner.examine(settings, _instant(None, "now")):
        seen.append(finding)
        if not as_json:
            typer.echo(f"{finding.state:5} {finding.part:10} {finding.said}")
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in seen]))
    return 2 if any(finding.state == "fail" for finding in seen) else 0


@app.command()
def status(  # noqa: PLR0913 - each option of a command is an argument
    *,
    quarantine: Annotated[
        bool, typer.Option("--quarantine", help="The rows kept aside, newest first.")
    ] = False,
    quality: Annotated[
        bool, typer.Option("--quality", help="Which bars should exist and do not, and why.")
    ] = False,
    since: Annotated[str | None, typer.Option(help="With --quality: the first day.")] = None,
    as_of: Annotated[
        str | None, typer.Option(help="With --quality: what was held at this instant, UTC.")
    ] = None,
    source: SourceOption = None,
    symbols: SymbolsOption = None,
    interval: IntervalOption = None,
    out: Annotated[
        Path | None, typer.Option(help="With --quality: the page's file. Default: beside the runs.")
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Show the last runs, freshness, rows kept aside, pending deliveries, and the engine.

    With --quality: the bars that should exist, are missing, were refused, or that the venue did
    not have, per instrument, and a page with a calendar of them.
    Example: python main.py status --quality --since 2024-01-01
    """
    from components.entrypoints import views

    chosen = {"source": source, "symbols": symbols, "interval": interval}
    if quality:
        from components.wiring import open_parts

        instant = _past(_instant(as_of, "--as-of"), "--as-of")
        start = None if since is None else _past(_instant(since, "--since"), "--since")
        with open_parts(_settings(**chosen), instant, command="status", reads_only=True) as parts:
            typer.echo(views.quality(parts, start, out, is_json=as_json))
        return 0
    if any(value is not None for value in (since, as_of, out, *chosen.values())):
        raise SettingsError("status takes these options with --quality alone. Add --quality.")
    zone = _settings().time_zone
    with _warehouse() as warehouse:
        tables = views.quarantine(warehouse) if quarantine else views.status(warehouse, zone)
        _show(tables, as_json)
    return 0


@app.command()
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
    since: Annotated[str | None, typer.Option(help="Leave out candles before this day.")] = None,
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
    settings = _settings(source=source, symbols=symbols, interval=interval, **judge)
    start = None if since is None else _past(_instant(since, "--since"), "--since")
    chosen = Chosen(settings.symbols, start, subset, seed, rounds)
    with _reading(settings, "profile" if profile else "evaluate") as parts:
        if profile:
            exploring.profiled(parts, chosen, out=out, as_json=as_json)
        else:
            evaluating.evaluated(
                parts, chosen, is_null=null, events=events, out=out, as_json=as_json
            )
    return 0


@app.command()
def forecast(  # noqa: PLR0913 - each option of a command is an argument
    *,
    as_of: Annotated[
        str | None, typer.Option(help="Judge what had closed by this instant, UTC. Default: now.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="athena, sql or files.")] = None,
    symbols: Annotated[str | None, typer.Option(help="Data sets, comma-separated.")] = None,
    interval: Annotated[str | None, typer.Option(help="Length of a bin: 2h.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell nobody; print what would be told.")
    ] = False,
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

    settings = _settings(source=source, symbols=symbols, interval=interval)
    if day is not None:
        table, said = forecasting.day_tested(day, settings.coverage)
        if as_json:
            _show({"bins": table}, as_json)
        else:
            typer.echo(said)
        return 0
    instant = _past(_instant(as_of, "--as-of"), "--as-of")
    if csv is not None:
        first = None if since is None else _past(_instant(since, "--since"), "--since")
        typer.echo(forecasting.exported(settings, instant, first, csv))
        return 0
    if since is not None:
        raise SettingsError("--since goes with --csv: it is the first day that is written.")
    summary, shown = forecasting.forecasted(settings, instant, Runner(_progress), dry=dry_run)
    if as_json:
        typer.echo(forecasting.as_json(shown))
        return summary.exit_code
    typer.echo(forecasting.in_words(shown, settings.time_zone, settings.payment_unit))
    return _finished(summary)


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

SharedSeed = Annotated[int, typer.Option(min=0, max=2**31, help="Of plants and draws.")]
Rounds = Annotated[int, typer.Option(min=1, max=100, help="Panels planted, each otherwise.")]


@app.command()
def train(  # noqa: PLR0913 - each option of a command is an argument
    detector: DetectorArgument = "gmm",
    *,
    since: Annotated[str | None, typer.Option(help="Leave out candles before this day.")] = None,
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
        settings = _settings(symbols=symbols, interval=interval)
        wanted = _wanted(settings, since, seed, share=share)
        with _reading(settings, "train") as parts:
            done = training.parameters_trained(parts, settings, wanted)
        typer.echo(training.parameters_in_words(done, as_json=as_json))
        return 0

    chosen = {
        "features": [n.strip() for n in (features or "").split(",") if n.strip()],
        "hyper": [n.strip() for n in (hyper or "").split(",") if n.strip()],
        "per_symbol": per_symbol,
        "fixed": fixed,
    }
    settings = _settings(symbols=symbols, interval=interval)
    wanted = _wanted(settings, since, seed, share=share, rounds=rounds)
    with _reading(settings, "train") as parts:
        outcome = training.trained(parts, settings, wanted, detector, chosen)
    typer.echo(training.outcome_json(outcome) if as_json else training.in_words(outcome))
    return 0


def _forecasters_tried(symbols: str | None, interval: str | None, as_json: bool) -> int:
    from components.entrypoints import forecasting
    from components.entrypoints.instants import fresh_instant

    settings = _settings(symbols=symbols, interval=interval)
    found = forecasting.tried(settings, fresh_instant(), _progress)
    words = forecasting.trials_in_words(found, settings.coverage)
    typer.echo(forecasting.trials_as_json(found) if as_json else words)
    return 0


models = typer.Typer(help="List trained models, compare them, promote one, or go back.")
app.add_typer(models, name="models")


@models.command("list")
def list_models(interval: IntervalOption = None, as_json: JsonOption = False) -> int:
    """List the registered models, newest first.

    Example: python main.py models list
    """
    from components.entrypoints import training

    _show({"models": training.listed(_settings(interval=interval))}, as_json)
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

    _show({"figures": training.compared(_settings(interval=interval), versions or [])}, as_json)
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

    settings = _settings(symbols=symbols, interval=interval)
    with _reading(settings, "models") as parts:
        training.promoted(parts, settings, version, typer.echo)
    return 0


@models.command()
def rollback(interval: IntervalOption = None) -> int:
    """Make the champion before this one champion again.

    Example: python main.py models rollback
    """
    from components.wiring import registry_of

    kept = registry_of(_settings(interval=interval))
    typer.echo(f"version {kept.roll_back()} is the champion of {kept.name} again")
    return 0


@models.command()
def score(
    version: Annotated[str, typer.Argument(help="A version or alias.")] = "champion",
    as_of: Annotated[
        str | None, typer.Option(help="With what was known at this instant, UTC. Default: now.")
    ] = None,
    symbols: SymbolsOption = None,
    interval: IntervalOption = None,
    as_json: JsonOption = False,
) -> int:
    """Score the newest stored bar of each instrument, and say what each score is made of.

    Features come from the feature server of TREMOR_FEAST_URL, else from the warehouse.
    Example: python main.py models score champion --symbols SPY,QQQ
    """
    from components.entrypoints import scoring

    settings = _settings(symbols=symbols, interval=interval)
    instant = _past(_instant(as_of, "--as-of"), "--as-of")
    found = scoring.scored(settings, version, instant, is_now=as_of is None)
    for failure in found.failures:
        typer.echo(f"failed: {failure.symbol}: {failure.message}", err=True)
    typer.echo(scoring.as_json(found) if as_json else scoring.in_words(found, settings.interval))
    return 3 if found.failures else 0


def _wanted(
    settings: "Settings", since: str | None, seed: int, share: float = 0.7, rounds: int = 1
) -> Any:
    from components.steps.evaluate import Chosen
    from components.steps.train import Wanted

    start = None if since is None else _past(_instant(since, "--since"), "--since")
    return Wanted(Chosen(settings.symbols, start, seed=seed), share, rounds)


def _reading(settings: "Settings", command: str) -> Any:
    from components.wiring import open_parts

    now = _instant(None, "now")
    return open_parts(settings, now, command=command, reads_only=True, progress=_progress)


@app.command()
def serve(
    address: Annotated[
        str | None, typer.Option(help="Where it listens. Default: this machine alone.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="The port. Default: 8000.")] = None,
    is_open: Annotated[
        bool, typer.Option("--open", help="On loopback alone: answer without keys.")
    ] = False,
) -> int:
    """Serve the API: candles in, verdicts out; alerts, incidents, instruments, models, runs.

    Example: python main.py serve --port 8000
    """
    from components.entrypoints.api.serving import serve as start

    start(_settings(api_address=address, api_port=port, api_open=True if is_open else None))
    return 0


@app.command()
def dashboard(
    address: Annotated[
        str | None, typer.Option(help="Where it listens. Default: this machine alone.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="The port. Default: 8501.")] = None,
    role: Annotated[
        str | None, typer.Option(help="Without a login: read, or write, which may acknowledge.")
    ] = None,
) -> int:
    """Show what is unusual, why, and what would have been, as a web page.

    Example: python main.py dashboard --role write
    """
    from components.entrypoints.dashboard.start import start

    start(_settings(dashboard_address=address, dashboard_port=port, dashboard_role=role))
    return 0


keys = typer.Typer(help="Keys of the API: make one, list them, revoke one.")
app.add_typer(keys, name="keys")


@keys.command("make")
def make_key(
    name: Annotated[str, typer.Argument(help="Who, or what, asks with it.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="read, write or score; may be repeated.")
    ] = None,
    days: Annotated[
        int, typer.Option(min=0, max=36_500, help="Holds so many days; 0: for ever.")
    ] = 365,
) -> int:
    """Make a key and print it, once: it is kept nowhere.

    Example: python main.py keys make risk-desk --scope read --scope score --days 90
    """
    from components.steps import keys as kept

    with _warehouse() as warehouse:
        now = _instant(None, "now")
        typer.echo(kept.make(warehouse, name, tuple(scope or ("read",)), days, now))
    return 0


@keys.command("list")
def list_keys(as_json: JsonOption = False) -> int:
    """List the keys, without anything that could be used.

    Example: python main.py keys list
    """
    from components.steps import keys as kept

    with _warehouse() as warehouse:
        _show({"keys": kept.listed(warehouse)}, as_json)
    return 0


@keys.command("password")
def hash_password() -> int:
    """Ask for the dashboard's password and print the line that settings hold of it.

    Example: python main.py keys password
    """
    from components.passwords import hashed

    password = typer.prompt("password", hide_input=True, confirmation_prompt=True, err=True)
    typer.echo(f"TREMOR_DASHBOARD_PASSWORD_HASH={hashed(password)}")
    return 0


@keys.command("revoke")
def revoke_key(which: Annotated[str, typer.Argument(help="A key's id or name.")]) -> int:
    """Revoke a key; a server that runs notices within a second.

    Example: python main.py keys revoke risk-desk
    """
    from components.steps import keys as kept

    with _warehouse() as warehouse:
        typer.echo(f"revoked: {kept.revoke(warehouse, which, _instant(None, 'now'))}")
    return 0


alerts = typer.Typer(help="List alerts, show one, and say what you make of it.")
app.add_typer(alerts, name="alerts")

AlertId = Annotated[str, typer.Argument(help="As `alerts list` shows it.")]
OneSymbol = Annotated[str, typer.Option("--symbol", help="Of its instruments this one alone.")]


@alerts.command("list")
def list_alerts(
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 20, as_json: JsonOption = False
) -> int:
    """List the newest alerts.

    Example: python main.py alerts list --limit 50
    """
    from components.entrypoints import views

    with _warehouse() as warehouse:
        _show({"alerts": views.alerts(warehouse, limit)}, as_json)
    return 0


@alerts.command()
def show(alert_id: AlertId, as_json: JsonOption = False) -> int:
    """Show one alert with its reasons.

    Example: python main.py alerts show 1f0c9a2b7d3e
    """
    from components.entrypoints import views

    with _warehouse() as warehouse:
        alert = views.alert(warehouse, alert_id)
    typer.echo(json.dumps(alert, indent=1) if as_json else views.in_words(alert))
    return 0


@alerts.command()
def acknowledge(alert_id: AlertId, note: str = "", symbol: OneSymbol = "") -> int:
    """Keep quiet about the alert's instruments until each has had a normal bar again.

    Example: python main.py alerts acknowledge 1f0c9a2b7d3e --note "seen, index rebalancing"
    """
    return _act(alert_id, "acknowledge", note=note, symbol=symbol)


@alerts.command()
def snooze(
    alert_id: AlertId,
    until: Annotated[str, typer.Option()],
    note: str = "",
    symbol: OneSymbol = "",
) -> int:
    """Keep quiet about the alert's instruments until a date.

    Example: python main.py alerts snooze 1f0c9a2b7d3e --until 2024-04-01
    """
    until_instant = _instant(until, "--until")
    return _act(alert_id, "snooze", until=until_instant, note=note, symbol=symbol)


@alerts.command()
def label(
    alert_id: AlertId,
    finding: Annotated[
        str, typer.Option("--as", help="confirmed, expected, data-error, new-regime or false.")
    ],
    note: str = "",
    symbol: OneSymbol = "",
) -> int:
    """Keep what a person found an alert to be; bars labelled data-error are learned from no more.

    Example: python main.py alerts label 1f0c9a2b7d3e --as confirmed --symbol ^GSPC
    """
    return _act(alert_id, "label", label=finding, note=note, symbol=symbol)


def _act(alert_id: str, action: str, **said: Any) -> int:
    from components.entrypoints import views

    with _warehouse() as warehouse:
        made_at = views.said_at(warehouse, _instant(None, "now"))
        symbols = views.act(warehouse, alert_id, action, made_at, **said)
    typer.echo(f"{action}: {alert_id} ({', '.join(symbols)})")
    return 0


def _settings(**overrides: Any) -> "Settings":
    from components.settings import read_settings

    return read_settings(**overrides)


def _parts(settings: "Settings", as_of: "pd.Timestamp", command: str) -> Any:
    from components.wiring import open_parts

    return open_parts(settings, as_of, command=command, progress=_progress)


def _warehouse() -> Any:
    from components.wiring import open_warehouse

    return open_warehouse(_settings())


def _instant(text: str | None, option: str) -> "pd.Timestamp":
    import pandas as pd

    if text is None:
        return pd.Timestamp.now("UTC").floor("s")
    instant = pd.to_datetime(text, errors="coerce")
    if pd.isna(instant):
        raise SettingsError(f"{option} {text!r} is no date. Write it as 2024-03-12.")
    utc = instant.tz_localize("UTC") if instant.tzinfo is None else instant.tz_convert("UTC")
    return utc.floor("s")


def _past(instant: "pd.Timestamp", option: str) -> "pd.Timestamp":
    """Refuse the future, of which nothing is known, and times before 1970."""
    if instant > _instant(None, "now"):
        raise SettingsError(f"{option} {instant:%Y-%m-%d %H:%M} UTC is still to come.")
    if instant.year < 1970:
        raise SettingsError(f"{option} {instant.date()} is before 1970, where history begins here.")
    return instant


def _progress(items: Any, total: int, what: Any) -> Any:
    """A bar on a terminal; nothing where nobody looks, or where one step is all there is."""
    if total < 2 or not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import Progress

    say = what if callable(what) else lambda: what
    with Progress(*Progress.get_default_columns(), console=Console(stderr=True)) as shown:
        bar = shown.add_task(say(), total=total)
        for item in items:
            yield item
            shown.update(bar, advance=1, description=say())


def _finished(summary: "RunSummary") -> int:
    for failure in summary.failures[:20]:
        typer.echo(f"failed: {failure.symbol}: {failure.message}", err=True)
    if len(summary.failures) > 20:
        typer.echo(f"failed: and {len(summary.failures) - 20} more", err=True)
    for line in summary.undelivered:
        typer.echo(f"not delivered, tried again by the next run: {line}", err=True)
    counts = ", ".join(f"{k.replace('_', ' ')} {v:,}" for k, v in sorted(summary.counts.items()))
    typer.echo(f"{summary.command} as of {summary.as_of:%Y-%m-%d %H:%M} UTC: {counts or 'done'}")
    if summary.report:
        typer.echo(f"report: {summary.report}")
    for page in summary.pages:
        typer.echo(f"bands: {page}")
    return summary.exit_code


def _show(tables: dict[str, Any], as_json: bool) -> None:
    if as_json:
        shown = {
            k: json.loads(v.to_json(orient="records", date_format="iso")) for k, v in tables.items()
        }
        typer.echo(json.dumps(shown, indent=1))
        return
    for name, frame in tables.items():
        typer.echo(f"{name}:" if len(frame) else f"{name}: none")
        if len(frame):
            typer.echo(frame.to_string(index=False, max_colwidth=60) + "\n")
