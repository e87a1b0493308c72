"""What ``backtest`` does with its arguments; the command itself stands in ``commands``."""

import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import typer

from components.backtest_page import Replayed, as_json, page, text_table
from components.errors import SettingsError
from components.judgement import Bench
from components.settings import Settings
from components.steps.backtest import Span, backtest
from components.steps.parts import Parts
from components.steps.past import DELAY
from components.steps.prefixes import replay_prefixes
from components.wiring import open_scratch

TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")

Opener = Callable[[Settings], AbstractContextManager[Parts]]


def span(since: pd.Timestamp, until: pd.Timestamp, at: str | None) -> Span:
    """The days to replay; refuses a span without days, and a time that no clock shows."""
    if since >= until:
        raise SettingsError(
            f"--since {since:%Y-%m-%d %H:%M} is not before --until {until:%Y-%m-%d %H:%M}."
        )
    if at is None:
        return Span(since, until)
    shown = TIME.fullmatch(at)
    if shown is None:
        raise SettingsError(f"--at {at!r} is no time of day. Write it as 22:30, UTC.")
    return Span(since, until, pd.Timedelta(hours=int(shown[1]), minutes=int(shown[2])))


def backtested(
    opened: Opener,
    settings: Settings,
    then: Settings | None,
    wanted: Span,
    *,
    out: Path | None,
    is_json: bool,
    bench: Bench | None = None,
) -> int:
    """Replay the days, write the page and the JSON file, and show the figures."""
    with ExitStack() as stack:
        parts = stack.enter_context(opened(settings))
        others = [] if then is None else [stack.enter_context(opened(then))]
        if bench is not None:
            parts, *others = (replace(each, bench=bench) for each in (parts, *others))
        outcomes = backtest(parts, partial(open_scratch, settings), wanted, *others)
        n_instruments = int(outcomes[0].verdicts["symbol"].nunique())
        source = parts.source.name
    replayed = Replayed(
        wanted.since, wanted.until, source, n_instruments, tuple(outcomes), delay=DELAY
    )
    found = as_json(replayed)
    name = f"{wanted.since:%Y%m%d}-{wanted.until:%Y%m%d}"
    folder = out or settings.state_dir / "backtest" / name
    html, text = folder / "backtest.html", folder / "backtest.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text.write_text(json.dumps(found, indent=1, allow_nan=False))
        html.write_text(page(replayed))
    except OSError as error:
        raise SettingsError(
            f"--out {folder} cannot be written: {error.strerror}. Name another folder."
        ) from error
    typer.echo(json.dumps(found, indent=1) if is_json else text_table(found))
    typer.echo(f"report: {html}\nfigures: {text}", err=is_json)
    return 0


def prefixes_replayed(parts: Parts, n_pairs: int, seed: int, *, is_json: bool) -> int:
    """Try random prefixes; 1 when any of them disagrees."""
    found = replay_prefixes(parts, n_pairs, seed)
    shown = {
        "pairs": found.n_pairs,
        "agreed": found.n_agreed,
        "bars_judged": found.n_bars,
        "seed": seed,
        "first_disagreement": str(found.disagreements[0]) if found.disagreements else None,
    }
    if is_json:
        typer.echo(json.dumps(shown, indent=1))
    else:
        typer.echo(
            f"prefixes: {found.n_agreed} of {found.n_pairs} pairs agree to the bit "
            f"({found.n_bars:,} bars judged again; judge {parts.ensemble.name}, seed {seed})"
        )
    if found.disagreements:
        typer.echo(f"first disagreement: {found.disagreements[0]}", err=True)
        return 1
    return 0
