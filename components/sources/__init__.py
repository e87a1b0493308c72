"""Where candles come from: each source fetches one reply (I/O) and parses it (pure)."""

from collections.abc import Callable
from pathlib import Path

from components.errors import SettingsError, UnknownName
from components.sources.base import Source, check_symbol

__all__ = ["SOURCES", "Source", "check_symbol", "open_source"]


def _files(*, files_root: Path | None, **_: object) -> Source:
    from components.sources.files import Files

    if files_root is None:
        raise SettingsError(
            "the source 'files' reads a folder, and none is set. "
            "Set TREMOR_FILES_ROOT to the folder with your CSV or Parquet files."
        )
    return Files(files_root)


def _sample(**_: object) -> Source:
    from components.sources.sample import Sample

    return Sample()


def _yahoo(
    *,
    yahoo_url: str,
    requests_per_second: float,
    timeout_s: float,
    cache_dir: Path | None,
    **_: object,
) -> Source:
    from components.sources.yahoo import Yahoo

    return Yahoo(yahoo_url, requests_per_second, timeout_s, cache_dir)


# Each opens its source and imports the libraries that only this source needs.
SOURCES: dict[str, Callable[..., Source]] = {"files": _files, "sample": _sample, "yahoo": _yahoo}


def open_source(
    name: str,
    *,
    files_root: Path | None = None,
    yahoo_url: str = "",
    requests_per_second: float = 2.0,
    timeout_s: float = 30.0,
    cache_dir: Path | None = None,
) -> Source:
    """Open the source called ``name``; each takes the settings that concern it.

    Raises
    ------
    UnknownName
        When no source has that name.
    SettingsError
        When a setting that it needs is missing.
    """
    if name not in SOURCES:
        raise UnknownName("source", name, list(SOURCES))
    return SOURCES[name](
        files_root=files_root,
        yahoo_url=yahoo_url,
        requests_per_second=requests_per_second,
        timeout_s=timeout_s,
        cache_dir=cache_dir,
    )
