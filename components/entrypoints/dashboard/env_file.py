"""Lines of ``.env``: replaced one by one, whole or not at all, and read back before they count."""

import io
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dotenv.parser import parse_stream

from components.errors import SettingsError
from components.settings import Settings, read_settings

PREFIX = "TREMOR_"

# Of a file that was not there: it may come to hold passwords.
PRIVATE = 0o600


def line_of(name: str, value: Any) -> str:
    """A setting as a line: ``TREMOR_QUORUM=3``."""
    if isinstance(value, tuple):
        value = ",".join(value)
    # As few digits as give the same number back.
    text = f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
    return f"{PREFIX}{name.upper()}={text}"


def said_elsewhere(names: Mapping[str, Any]) -> list[str]:
    """Those of the settings that the process's environment sets: there ``.env`` is not heard."""
    return sorted(read_settings(_env_file=()).model_fields_set & set(names))


def put(path: Path, wanted: Mapping[str, Any]) -> None:
    """Write settings into the file at ``path``; all its other lines and its permissions stay.

    Raises
    ------
    SettingsError
        The environment sets one of them, the file cannot be written, or what would be read of
        it is not what is wanted. Nothing is changed then.
    """
    if named := said_elsewhere(wanted):
        raise SettingsError(
            f"{PREFIX}{named[0].upper()} is set in the environment of this dashboard, which wins "
            "over .env. Change it where it is set."
        )
    # A link stays a link.
    held = path.resolve()
    try:
        old = held.read_bytes().decode() if held.exists() else ""
        _replace(held, with_lines(old, wanted), wanted)
    except UnicodeDecodeError:
        raise SettingsError(f"{held} is no UTF-8 text. Save it as UTF-8.") from None
    except OSError as error:
        raise SettingsError(
            f"{held}: {error.strerror}. Write the lines into it by hand, or let this user write."
        ) from None


def with_lines(old: str, wanted: Mapping[str, Any]) -> str:
    """The text with the settings' lines in place of those that stood for them, or at its end."""
    lines = {f"{PREFIX}{name.upper()}": line_of(name, value) for name, value in wanted.items()}
    newline = "\r\n" if "\r\n" in old else "\n"
    parts: list[str] = []
    written: set[str] = set()
    for binding in parse_stream(io.StringIO(old, newline="")):
        text, key = binding.original.string, (binding.key or "").upper()
        if key in lines:
            before = text[: len(text) - len(text.lstrip())]
            # Of a name that is there twice the last would win: one is enough.
            text = before if key in written else f"{before}{lines[key]}{newline}"
            written.add(key)
        parts.append(text)
    whole = "".join(parts)
    if whole and not whole.endswith(("\n", "\r")):
        whole += newline
    return whole + "".join(f"{line}{newline}" for key, line in lines.items() if key not in written)


def _replace(path: Path, text: str, wanted: Mapping[str, Any]) -> None:
    """Write beside the file, read it as the program would, and put it in the file's place."""
    status = path.stat() if path.exists() else None
    handle, name = tempfile.mkstemp(prefix=".env.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            if status is not None and (status.st_uid, status.st_gid) != (
                os.geteuid(),
                os.getegid(),
            ):
                os.fchown(file.fileno(), status.st_uid, status.st_gid)
            os.fchmod(file.fileno(), status.st_mode & 0o7777 if status else PRIVATE)
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        _require(read_settings(_env_file=name), wanted)
        Path(name).replace(path)
    finally:
        with suppress(FileNotFoundError):
            Path(name).unlink()


def _require(found: Settings, wanted: Mapping[str, Any]) -> None:
    for name, value in wanted.items():
        if getattr(found, name) != value:
            raise SettingsError(
                f"{line_of(name, value)} would be read as {getattr(found, name)!r}: .env was left "
                "as it was. Write the line into it by hand."
            )
