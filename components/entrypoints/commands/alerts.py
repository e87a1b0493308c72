"""``alerts``: list them, show one, and say what you make of it."""

import json
from typing import Annotated, Any

import typer

from components.entrypoints.commands.opened import instant_of, opened_warehouse
from components.entrypoints.commands.options import JsonOption
from components.entrypoints.commands.terminal import show_tables

alerts = typer.Typer(help="List alerts, show one, and say what you make of it.")
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

    with opened_warehouse() as warehouse:
        show_tables({"alerts": views.alerts(warehouse, limit)}, as_json)
    return 0


@alerts.command()
def show(alert_id: AlertId, as_json: JsonOption = False) -> int:
    """Show one alert with its reasons.

    Example: python main.py alerts show 1f0c9a2b7d3e
    """
    from components.entrypoints import views

    with opened_warehouse() as warehouse:
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
    until_instant = instant_of(until, "--until")
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

    with opened_warehouse() as warehouse:
        made_at = views.said_at(warehouse, instant_of(None, "now"))
        symbols = views.act(warehouse, alert_id, action, made_at, **said)
    typer.echo(f"{action}: {alert_id} ({', '.join(symbols)})")
    return 0
