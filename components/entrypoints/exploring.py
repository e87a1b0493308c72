"""What ``evaluate --profile`` does with its arguments, and what the notebook opens."""

import json
from pathlib import Path

import typer

from components.errors import SettingsError
from components.profile_page import page
from components.profile_tables import as_json as figures_of
from components.profile_tables import text_table
from components.steps.evaluate import Chosen, written
from components.steps.parts import Parts
from components.steps.profile import profile


def require_alone(**options: object) -> None:
    """Refuse options of the judgement: an exploration has none.

    Raises
    ------
    SettingsError
        With the name of the first that is set.
    """
    given = [name for name, value in options.items() if value]
    if given:
        option = given[0].replace("_", "-")
        raise SettingsError(
            f"evaluate --profile judges nothing. Leave out --{option}, or --profile."
        )


def profiled(parts: Parts, chosen: Chosen, *, out: Path | None, as_json: bool) -> None:
    """Explore the instruments, write the page and the JSON file, and show the figures."""
    found = profile(parts, chosen)
    text = json.dumps(figures_of(found), indent=1)
    files = {"profile.html": page(found).encode(), "profile.json": f"{text}\n".encode()}
    html, figures = written(parts, files, out)
    typer.echo(text if as_json else f"{text_table(found)}\n")
    typer.echo(f"report: {html}\nfigures: {figures}", err=as_json)
