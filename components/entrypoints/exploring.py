"""What ``evaluate --profile`` does with its arguments, and what the notebook opens."""

import json
from pathlib import Path

import pandas as pd
import typer

from components.errors import SettingsError
from components.explored import Profile
from components.explored import as_json as figures_of
from components.profile_page import page
from components.profile_tables import text_table
from components.settings import read_settings
from components.steps.backfill import backfill
from components.steps.evaluate import Chosen, written
from components.steps.parts import Parts
from components.steps.profile import profile
from components.wiring import open_parts, open_scratch

# The packaged history begins in 1999.
SAMPLE_SINCE = pd.Timestamp("1999-01-01", tz="UTC")


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


def explored(
    symbols: str | None = None, interval: str | None = None, since: str | None = None
) -> Profile:
    """Explore the warehouse that the settings name; where it holds no candles, the sample.

    Of the packaged sample nothing is left behind.

    Parameters
    ----------
    symbols : str, optional
        Instruments, comma-separated; all by default.
    interval : str, optional
        Length of a bar, as the settings say by default.
    since : str, optional
        The first day; all history by default.
    """
    now = pd.Timestamp.now("UTC").floor("s")
    start = None if since is None else pd.Timestamp(since, tz="UTC")
    settings = read_settings(symbols=symbols, interval=interval, model="none")
    with open_parts(settings, now, command="profile", reads_only=True) as parts:
        if not parts.is_measured and parts.warehouse.symbols(parts.watch.interval):
            return profile(parts, Chosen(settings.symbols, start))
    sample = read_settings(source="sample", symbols="", interval="1d", model="none")
    opened = open_parts(sample, now, command="profile", reads_only=True)
    with opened as parts, open_scratch(sample, parts) as scratch:
        backfill(scratch, SAMPLE_SINCE, now)
        return profile(scratch, Chosen(since=start))
