"""What a command shows on the terminal: progress, tables, how a run ended."""

import json
import sys
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from components.records import RunSummary


def progress(items: Any, total: int, what: Any) -> Any:
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


def finished(summary: "RunSummary") -> int:
    """Say how a run ended; give its exit code."""
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


def show_tables(tables: dict[str, Any], as_json: bool) -> None:
    """Print tables, or for a program one JSON object of them."""
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
