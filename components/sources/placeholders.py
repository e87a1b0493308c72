"""The text of an operator's query: its two placeholders, and what it may not do."""

import re
from typing import Final

from components.errors import SettingsError

# What a database reads as one thing, and in which nothing is a placeholder. PostgreSQL knows
# $$strings$$ and E'it\'s'; MySQL escapes by backslash and has comments that begin with #.
_COMMON: Final = r"--[^\n]*|/\*.*?\*/|`[^`]*`"
_PLAIN: Final = r"'(?:[^']|'')*'|" + r'"(?:[^"]|"")*"'
_ESCAPED: Final = r"'(?:[^'\\]|''|\\.)*'|" + r'"(?:[^"\\]|""|\\.)*"'
QUOTED: Final = {
    "athena": f"{_COMMON}|{_PLAIN}",
    "mysql": f"{_COMMON}|#[^\n]*|{_ESCAPED}",
    "postgresql": (
        rf"(?<!\w)[eE]'(?:[^'\\]|''|\\.)*'|\$(?P<tag>(?:[A-Za-z_]\w*)?)\$.*?\$(?P=tag)\$"
        rf"|{_COMMON}|{_PLAIN}"
    ),
}

PLACEHOLDERS: Final = (":since", ":until")
MARK: Final = r"(?P<cast>::)|(?P<mark>:(?:since|until)(?!\w))"


def prepared(text: str, dialect: str, where: str) -> str:
    """Write a query for a driver that takes ``%(since)s`` and ``%(until)s``.

    Parameters
    ----------
    text : str
        One SELECT with the placeholders ``:since`` and ``:until``, which a driver fills in;
        inside strings and comments they are left alone.
    dialect : str
        "athena", "mysql" or "postgresql": how strings and comments are written.
    where : str
        The file, for messages.

    Raises
    ------
    SettingsError
        When a placeholder is missing, there is a second statement, or it does not only read.
    """
    tokens = re.compile(f"(?P<quoted>{QUOTED[dialect]})|{MARK}", re.DOTALL)
    # Covered strings and comments keep their length: a place in the code is one in the text.
    code = tokens.sub(_covered, text).rstrip("; \t\r\n")
    missing = [mark for mark in PLACEHOLDERS if not re.search(rf"{mark}(?!\w)", code)]
    if missing:
        raise SettingsError(
            f"{where}: the query lacks {' and '.join(missing)}. It is run month by month: filter "
            "with `paid_at >= :since and paid_at < :until`."
        )
    if ";" in code:
        raise SettingsError(f"{where}: more than one statement. Keep one SELECT in the file.")
    if not re.match(r"[\s(]*(?:select|with)\b", code, re.IGNORECASE):
        raise SettingsError(f"{where}: no query that reads. Begin it with SELECT or WITH.")
    if re.search(r"\binto\b", code, re.IGNORECASE):
        raise SettingsError(f"{where}: a query with INTO writes. Give one that only reads.")
    return tokens.sub(_written, text[: len(code)].replace("%", "%%"))


def _covered(match: re.Match[str]) -> str:
    if match["mark"]:
        return match[0]
    is_comment = match[0].startswith(("--", "#", "/*"))
    return (" " if is_comment else ".") * len(match[0])


def _written(match: re.Match[str]) -> str:
    return f"%({match['mark'][1:]})s" if match["mark"] else match[0]
