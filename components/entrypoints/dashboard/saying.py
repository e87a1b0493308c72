"""Texts from the data on a page: never read as markup; and what is said when something fails."""

import logging
import re
import secrets
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import streamlit as st

from components.errors import TremorError
from components.words import clean

Asked = ParamSpec("Asked")

log = logging.getLogger("tremor")

# All that means something in Streamlit's Markdown: links, HTML, mathematics, colours, icons.
SPECIAL = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~$:&@/=^\"'])")

# What is made a link or an icon even when it is escaped; an invisible joiner breaks it up.
LINKED = re.compile(r"(?i)(?<=:)(?=//|material/|[a-z0-9_+-]+:)|(?<=www)(?=\.)|(?<=@)")


def escaped(text: str, limit: int = 2000) -> str:
    """Any text as Markdown that shows just this text, on one line."""
    return SPECIAL.sub(r"\\\1", LINKED.sub("\u2060", clean(text, limit)))


def careful(show: Callable[Asked, None]) -> Callable[Asked, None]:
    """Show a part of a page; where it fails, say in a line what to do, never a traceback."""

    @wraps(show)
    def shown(*args: Asked.args, **kwargs: Asked.kwargs) -> None:
        try:
            show(*args, **kwargs)
        except TremorError as error:
            st.error(escaped(str(error)), icon=":material/error:")
        except Exception:
            # Whatever it was, the log has it, and the page a sentence.
            reference = secrets.token_hex(4)
            log.exception("dashboard: failure %s", reference)
            st.error(
                "This could not be shown: there is a fault in the program. What happened is in "
                f"the dashboard's log, under failure {reference}.",
                icon=":material/error:",
            )

    return shown
