"""``keys``: those of the API, and the dashboard's password."""

from typing import Annotated

import typer

from components.entrypoints.commands.opened import instant_of, opened_warehouse
from components.entrypoints.commands.options import JsonOption
from components.entrypoints.commands.terminal import show_tables

keys = typer.Typer(help="Keys of the API: make one, list them, revoke one.")


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

    with opened_warehouse() as warehouse:
        now = instant_of(None, "now")
        typer.echo(kept.make(warehouse, name, tuple(scope or ("read",)), days, now))
    return 0


@keys.command("list")
def list_keys(as_json: JsonOption = False) -> int:
    """List the keys, without anything that could be used.

    Example: python main.py keys list
    """
    from components.steps import keys as kept

    with opened_warehouse() as warehouse:
        show_tables({"keys": kept.listed(warehouse)}, as_json)
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

    with opened_warehouse() as warehouse:
        typer.echo(f"revoked: {kept.revoke(warehouse, which, instant_of(None, 'now'))}")
    return 0
