"""A folder of the user's own files: CSV, Parquet, or Yahoo's JSON, packed or not."""

import gzip
import io
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from components.errors import InvalidSymbol, SettingsError, SourceFormatError, SymbolNotFound
from components.records import CandleRequest, Parsed, RawReply
from components.sessions import length
from components.sources.base import Source, Traits, check_symbol
from components.sources.chart import parse_chart
from components.sources.sheets import parse_sheet

# Fewer bars than these say nothing of their length.
FEW_BARS = 10

DAY = pd.Timedelta(days=1)

# BTC-USD.csv.gz, FTT-USD__2021.csv, SOL_USDT_1h.parquet, WSU.DE.json
FILE_NAME = re.compile(
    r"^(?P<symbol>.+?)(?:_(?P<interval>\d+[mhd]))?(?:__.*)?\.(?:csv|parquet|json)(?:\.gz)?$"
)

# Ten years of minutes are about 300 MB; what is larger was hardly meant.
MAX_BYTES = 512 * 2**20

TAR = "application/x-tar"


def opened(
    *, files_root: Path | None = None, measures_file: Path | None = None, **settings: Any
) -> Source:
    """Open the folder: of candles, or of payments when the settings say what tables mean."""
    if files_root is None:
        raise SettingsError(
            "the source 'files' reads a folder, and none is set. "
            "Set TREMOR_FILES_ROOT to the folder with your CSV or Parquet files."
        )
    if measures_file is not None:
        from components.sources.measure_files import MeasureFiles, read_meanings
        from components.sources.queries import binning

        return MeasureFiles(files_root, read_meanings(measures_file), binning(**settings))
    return Files(files_root)


@dataclass(frozen=True)
class Files:
    """The files of ``root``, one or more an instrument, named by it.

    The instrument is the file's name up to ``__``, to ``_1d`` (``_1h``, ...: then the file
    serves this interval only) or to the extension. The reply to a request is the file's bytes;
    when an instrument has several files, a tar archive of them, so that each stays as it was.

    Parameters
    ----------
    root : Path
        The folder. Links that lead out of it are not followed.
    """

    root: Path
    name: str = "files"
    traits: ClassVar[Traits] = Traits()

    def pieces(self, request: CandleRequest) -> tuple[CandleRequest, ...]:
        """An instrument's files are one reply."""
        return (request,)

    def symbols(self) -> tuple[str, ...]:
        """List the instruments that have a file."""
        return tuple(sorted({symbol for symbol, _, _ in self._listed()}))

    def fetch(self, request: CandleRequest) -> RawReply:
        """Read the instrument's files; what closed after a file was written is unfinished."""
        check_symbol(request.symbol)
        paths = sorted(
            path
            for symbol, interval, path in self._listed(request.symbol)
            if interval in (None, request.interval)
        )
        if not paths:
            raise SymbolNotFound(
                f"{request.symbol}: no file {request.symbol}.csv (.csv.gz, .parquet, .json) for "
                f"{request.interval} bars in {self.root}. Add it, or drop the symbol.",
                request.symbol,
            )
        contents = [self.read(path, request.symbol) for path in paths]
        written = [written_at(path) for path in paths]
        body, url, kind = contents[0], paths[0].resolve().as_uri(), "file"
        if len(paths) > 1:
            body, url, kind = packed(paths, contents), self.root.resolve().as_uri(), TAR
        return RawReply(
            self.name,
            request,
            url,
            200,
            min(max(written), request.as_of),
            body,
            {"kind": kind, "files": ", ".join(path.name for path in paths)},
        )

    def parse(self, reply: RawReply) -> Parsed:
        """Turn the files into rows; of several, the one that reaches farthest comes last.

        The candles then have two more columns: ``copy``, the file's rank, and
        ``observed_at``, when it was written.
        """
        request = reply.request
        if reply.details.get("kind") != TAR:
            return _parse_file(reply.body, reply.details.get("files", "the file"), request)
        parts, n_rows = [], 0
        for name, written, body in members(reply):
            parsed = _parse_file(body, name, request)
            parsed.candles["line"] += n_rows
            n_rows += len(parsed.candles)
            observed_at = min(written, request.as_of)
            parts.append(replace(parsed, candles=parsed.candles.assign(observed_at=observed_at)))
        # The last row of a shorter file is the likely unfinished one, so the longer file wins.
        parts.sort(key=_reach)
        ranked = [part.candles.assign(copy=rank) for rank, part in enumerate(parts)]
        actions = pd.concat([part.actions for part in parts], ignore_index=True)
        return Parsed(
            pd.concat(ranked, ignore_index=True),
            actions.drop_duplicates(["ts", "kind"], keep="last").reset_index(drop=True),
        )

    def _listed(self, wanted: str | None = None) -> Iterator[tuple[str, str | None, Path]]:
        if not self.root.is_dir():
            raise SettingsError(
                f"the folder {self.root} does not exist or is no folder. "
                "Set TREMOR_FILES_ROOT to the folder with your CSV or Parquet files."
            )
        paths = self.root.iterdir() if wanted is None else self.root.glob(f"{wanted}[._]*")
        for path in paths:
            match = FILE_NAME.match(path.name)
            if match is None or (wanted is not None and match["symbol"] != wanted):
                continue
            if _is_symbol(match["symbol"]) and self.is_inside(path):
                yield match["symbol"], match["interval"], path

    def is_inside(self, path: Path) -> bool:
        """Tell whether it is a file of the folder, and no link that leads out of it."""
        return path.is_file() and path.resolve().is_relative_to(self.root.resolve())

    def read(self, path: Path, symbol: str) -> bytes:
        """Read one file, if it is no larger than was meant."""
        try:
            if path.stat().st_size > MAX_BYTES:
                raise _too_large(path.name, symbol)
            return path.read_bytes()
        except OSError as error:
            raise SourceFormatError(
                f"{path.name}: cannot be read ({error.strerror}). Check its permissions.", symbol
            ) from None


def _is_symbol(text: str) -> bool:
    try:
        check_symbol(text)
    except InvalidSymbol:
        return False
    return True


def written_at(path: Path) -> pd.Timestamp:
    """When a file was written, to the second."""
    return pd.Timestamp(int(path.stat().st_mtime), unit="s", tz="UTC")


def _too_large(name: str, symbol: str) -> SourceFormatError:
    return SourceFormatError(
        f"{name}: larger than {MAX_BYTES // 2**20} MB. Split it by years: "
        f"{symbol}__2023.csv, {symbol}__2024.csv.",
        symbol,
    )


def packed(paths: list[Path], contents: list[bytes]) -> bytes:
    """Make a tar archive: the same files with the same times give the same bytes."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path, content in zip(paths, contents, strict=True):
            member = tarfile.TarInfo(path.name)
            member.size, member.mtime = len(content), int(path.stat().st_mtime)
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def members(reply: RawReply) -> Iterator[tuple[str, pd.Timestamp, bytes]]:
    """Take a reply of several files apart: name, when it was written, content."""
    try:
        with tarfile.open(fileobj=io.BytesIO(reply.body)) as tar:
            for member in tar:
                content = tar.extractfile(member)
                body = content.read() if content is not None else b""
                yield member.name, pd.Timestamp(member.mtime, unit="s", tz="UTC"), body
    except tarfile.TarError as error:
        symbol = reply.request.symbol
        raise SourceFormatError(f"{symbol}: the kept archive is damaged: {error}", symbol) from None


def _reach(parsed: Parsed) -> pd.Timestamp:
    last = parsed.candles.loc[parsed.candles["close"].notna(), "ts"].max()
    return pd.Timestamp.min.tz_localize("UTC") if pd.isna(last) else pd.Timestamp(last)


def _parse_file(body: bytes, name: str, request: CandleRequest) -> Parsed:
    body = unpacked(body, name, request.symbol)
    is_chart = body.lstrip()[:1] == b"{"
    parsed = (
        parse_chart(body, request.symbol, request.interval)
        if is_chart
        else parse_sheet(body, name, request.symbol, request.interval)
    )
    _require_interval(parsed.candles["ts"], name, request)
    return parsed


def _require_interval(ts: pd.Series, name: str, request: CandleRequest) -> None:
    """Refuse a file whose bars are plainly of another length: it would be judged as this one."""
    instants = np.unique(ts.dropna().to_numpy(dtype="datetime64[us]"))
    if len(instants) < FEW_BARS:
        return
    steps = np.diff(instants)
    usual, least = pd.Timedelta(np.median(steps)), pd.Timedelta(steps.min())
    wanted = length(request.interval)
    # Days have weekends; shorter bars may be rare, but not one a day.
    farthest = max(5 * wanted, DAY)
    if usual < wanted or least >= farthest:
        raise SourceFormatError(
            f"{name}: its bars are {usual / pd.Timedelta(hours=1):g} hours apart, which is not "
            f"{request.interval}. Set TREMOR_INTERVAL to their length, or write it into the "
            f"name: {request.symbol}_1h.csv.",
            request.symbol,
        )


def unpacked(body: bytes, name: str, symbol: str) -> bytes:
    """Undo gzip, where a file is packed, up to the size that was meant."""
    if body[:2] != b"\x1f\x8b":
        return body
    try:
        with gzip.open(io.BytesIO(body)) as packed:
            content = packed.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise SourceFormatError(
            f"{name}: cannot be unpacked ({error}). Copy or download it again.", symbol
        ) from None
    if len(content) > MAX_BYTES:
        raise _too_large(name, symbol)
    return content
