"""Commands that go on until they are stopped: ``stream``, ``serve``, ``dashboard``."""

from pathlib import Path
from typing import Annotated

import typer

from components.entrypoints.commands.opened import instant_of, settings_of
from components.entrypoints.commands.options import (
    AddressOption,
    IntervalOption,
    SourceOption,
    SymbolsOption,
)
from components.entrypoints.commands.terminal import progress


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
    start = None if since is None else instant_of(since, "--since")
    end = None if until is None else instant_of(until, "--until")
    wanted = stream_command.wanted_of(
        settings,
        feed,
        since=start,
        until=end,
        speed=speed,
        is_kept=keep,
        part=part,
        csv=csv,
    )
    return stream_command.streamed(settings, wanted, progress)


def serve(
    address: AddressOption = None,
    port: Annotated[int | None, typer.Option(help="The port. Default: 8000.")] = None,
    is_open: Annotated[
        bool, typer.Option("--open", help="On loopback alone: answer without keys.")
    ] = False,
) -> int:
    """Serve the API: candles in, verdicts out; alerts, incidents, instruments, models, runs.

    Example: python main.py serve --port 8000
    """
    from components.entrypoints.api.serving import serve as start

    start(settings_of(api_address=address, api_port=port, api_open=True if is_open else None))
    return 0


def dashboard(
    address: AddressOption = None,
    port: Annotated[int | None, typer.Option(help="The port. Default: 8501.")] = None,
    role: Annotated[
        str | None, typer.Option(help="Without a login: read, or write, which may acknowledge.")
    ] = None,
) -> int:
    """Show what is unusual, why, and what would have been, as a web page.

    Example: python main.py dashboard --role write
    """
    from components.entrypoints.dashboard.start import start

    start(settings_of(dashboard_address=address, dashboard_port=port, dashboard_role=role))
    return 0
