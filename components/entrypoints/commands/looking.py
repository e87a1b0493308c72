"""Commands that look: ``doctor`` and ``status``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from components.entrypoints.commands.opened import (
    first_day,
    instant_of,
    opened_warehouse,
    past,
    settings_of,
)
from components.entrypoints.commands.options import (
    IntervalOption,
    JsonOption,
    SourceOption,
    SymbolsOption,
)
from components.entrypoints.commands.terminal import show_tables
from components.errors import SettingsError


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

    settings = settings_of(source=source, symbols=symbols, interval=interval)
    seen = []
    for finding in examiner.examine(settings, instant_of(None, "now")):
        seen.append(finding)
        if not as_json:
            typer.echo(f"{finding.state:5} {finding.part:10} {finding.said}")
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in seen]))
    return 2 if any(finding.state == "fail" for finding in seen) else 0


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

        instant = past(as_of, "--as-of")
        start = first_day(since)
        with open_parts(settings_of(**chosen), instant, command="status", reads_only=True) as parts:
            typer.echo(views.quality(parts, start, out, is_json=as_json))
        return 0
    if any(value is not None for value in (since, as_of, out, *chosen.values())):
        raise SettingsError("status takes these options with --quality alone. Add --quality.")
    zone = settings_of().time_zone
    with opened_warehouse() as warehouse:
        tables = views.quarantine(warehouse) if quarantine else views.status(warehouse, zone)
        show_tables(tables, as_json)
    return 0
