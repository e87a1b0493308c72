"""What ``evaluate`` does with its arguments; the command itself stands in ``commands``."""

import json
from pathlib import Path
from typing import Any

import typer

from components.steps.evaluate import (
    Chosen,
    evaluate,
    evaluate_null,
    read_events,
    shipped_events,
    write,
)
from components.steps.evaluation_page import text_table
from components.steps.parts import Parts


def evaluated(
    parts: Parts,
    chosen: Chosen,
    *,
    is_null: bool,
    events: Path | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Evaluate, write the page and the JSON file, and show the figures."""
    dated = read_events(events) if events else shipped_events()
    result: dict[str, Any]
    result = evaluate_null(parts, chosen) if is_null else evaluate(parts, chosen, dated)
    html, text = write(parts, result, out)
    typer.echo(json.dumps(result, indent=1) if as_json else text_table(result))
    typer.echo(f"report: {html}\nfigures: {text}", err=as_json)
