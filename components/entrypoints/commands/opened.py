"""What a command opens of what it was told: settings, instants, stores."""

from typing import TYPE_CHECKING, Any

from components.entrypoints.commands.terminal import progress
from components.errors import SettingsError

if TYPE_CHECKING:
    import pandas as pd

    from components.settings import Settings


def settings_of(**overrides: Any) -> "Settings":
    """The settings in force, with what the command line says instead; None says nothing.

    Raises
    ------
    SettingsError
        One is not as it should be.
    """
    from components.settings import read_settings

    return read_settings(**overrides)


def parts_of(settings: "Settings", as_of: "pd.Timestamp", command: str) -> Any:
    """The parts that a command works with, to be opened by ``with``."""
    from components.wiring import open_parts

    return open_parts(settings, as_of, command=command, progress=progress)


def reading_parts(settings: "Settings", command: str) -> Any:
    """The parts, as of now, of a command that only reads."""
    from components.wiring import open_parts

    now = instant_of(None, "now")
    return open_parts(settings, now, command=command, reads_only=True, progress=progress)


def opened_warehouse() -> Any:
    """The warehouse of the settings in force, to be opened by ``with``."""
    from components.wiring import open_warehouse

    return open_warehouse(settings_of())


def instant_of(text: str | None, option: str) -> "pd.Timestamp":
    """What an option says, UTC, to the second; a day is its midnight, and None is now.

    Raises
    ------
    SettingsError
        It is no date.
    """
    import pandas as pd

    if text is None:
        return pd.Timestamp.now("UTC").floor("s")
    instant = pd.to_datetime(text, errors="coerce")
    if pd.isna(instant):
        raise SettingsError(f"{option} {text!r} is no date. Write it as 2024-03-12.")
    utc = instant.tz_localize("UTC") if instant.tzinfo is None else instant.tz_convert("UTC")
    return utc.floor("s")


def past(text: str | None, option: str) -> "pd.Timestamp":
    """What an option says, where it is neither to come nor before 1970: of that nothing is known.

    Raises
    ------
    SettingsError
        It is no date, or such a one.
    """
    instant = instant_of(text, option)
    if instant > instant_of(None, "now"):
        raise SettingsError(f"{option} {instant:%Y-%m-%d %H:%M} UTC is still to come.")
    if instant.year < 1970:
        raise SettingsError(f"{option} {instant.date()} is before 1970, where history begins here.")
    return instant


def first_day(since: str | None) -> "pd.Timestamp | None":
    """What ``--since`` says; None is from the first bar."""
    return None if since is None else past(since, "--since")


def span_of(
    since: str, until: str | None, start: "pd.Timestamp"
) -> "tuple[pd.Timestamp, pd.Timestamp]":
    """From ``start``, which ``--since`` says, to what ``--until`` says.

    Raises
    ------
    SettingsError
        It ends before it begins.
    """
    end = instant_of(until, "--until")
    if start >= end:
        raise SettingsError(f"--since {since} is not before --until {until or 'now'}.")
    return start, end
