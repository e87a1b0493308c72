"""The pages' templates, and the one way to fill them: everything from outside is escaped."""

import math
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from components import words

# So far the text of a cell or a sentence goes before it is cut.
LONGEST = 600


def fill(template: str, **values: Any) -> str:
    """Fill a template of this folder; values are escaped and freed of control characters."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=words.percent,
        price=words.price,
        share=words.share,
        times=words.times,
        moment=words.moment,
        counted=words.counted,
        level_word=words.level_word,
        seconds=words.seconds,
        clock_time=words.clock_time,
        sentence=sentence,
        coloured=coloured,
    )
    return environment


def _harmless(value: Any) -> Any:
    is_outside = isinstance(value, str) and not isinstance(value, Markup)
    # A line may break anywhere but between a number and its per cent sign.
    return words.clean(value, LONGEST).replace(" %", "\u00a0%") if is_outside else value


def sentence(text: str) -> str:
    """A reason as a sentence: a capital letter and a full stop."""
    first, _, _ = text.partition(" ")
    told = text[:1].upper() + text[1:] if len(first) > 1 and first.isalpha() else text
    return told if told.endswith((".", "`")) else f"{told}."


def coloured(move: float) -> str:
    """The style class of a move: up, down or flat (the sign says it too)."""
    if not math.isfinite(move) or move == 0:
        return "flat"
    return "up" if move > 0 else "down"
