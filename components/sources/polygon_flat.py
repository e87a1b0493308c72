"""Massive's flat files: one gzip CSV a day with every ticker, read in a stream."""

import gzip
import logging
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import Any, Final

import pandas as pd
from pydantic import SecretStr

from components.errors import RateLimited, SourceError, SourceFormatError, SourceUnavailable
from components.sources.once import Once
from components.sources.polygon_errors import NotInPlan

ENDPOINT: Final = "https://files.massive.com"
BUCKET: Final = "flatfiles"
SETS: Final = {"1m": "us_stocks_sip/minute_aggs_v1", "1d": "us_stocks_sip/day_aggs_v1"}

BLOCK = 512 * 1024
LONGEST_LINE = 64 * 1024

# Lines of the wanted tickers that are kept for the next one that asks, packed: 20 kB are a
# ticker's minutes of a day.
KEPT_BYTES = 64 * 2**20

ABSENT: Final = ("NoSuchKey", "404")
REFUSED: Final = ("AccessDenied", "403", "Forbidden")
WRONG_KEY: Final = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken")


@dataclass(frozen=True)
class Day:
    """What was kept of one day's file: the header and, packed, the lines of the tickers."""

    header: bytes
    lines: Mapping[str, bytes]

    @property
    def n_bytes(self) -> int:
        """How much of the store it takes."""
        return sum(map(len, self.lines.values())) + 64 * len(self.lines) + 256


@dataclass(frozen=True)
class FlatFiles:
    """Days of all tickers, of which those of the watch list are kept.

    A file is read to its end: its order is not relied on, and its check sum is compared.

    Parameters
    ----------
    key, secret : SecretStr
        Of the flat files; they are others than the REST API's key.
    symbols : tuple of str
        Whose lines are kept while a file passes by; with each request, its own.
    """

    key: SecretStr
    secret: SecretStr
    url: str = ""
    timeout_s: float = 30.0
    symbols: tuple[str, ...] = ()
    _days: Once[str, Day] = field(
        default_factory=lambda: Once(KEPT_BYTES, lambda day: day.n_bytes),
        init=False, repr=False, compare=False,
    )  # fmt: skip

    def address(self, interval: str, date: pd.Timestamp) -> str:
        """Tell where the file of a session lies."""
        return f"{self.url.rstrip('/') or ENDPOINT}/{BUCKET}/{object_key(interval, date)}"

    def lines(self, interval: str, date: pd.Timestamp, symbol: str) -> bytes | None:
        """Give the header and the ticker's lines of one session; None when there is no file.

        Raises
        ------
        SourceUnavailable, RateLimited
            When another try may help.
        NotInPlan, SourceError
            When the file is refused; when the keys are not taken.
        SourceFormatError
            When the file is damaged.
        """
        key = object_key(interval, date)
        day = self._days.get(key, lambda: self._read(key, symbol), lambda day: symbol in day.lines)
        if not day.header:
            return None
        lines = zlib.decompress(day.lines[symbol])
        return day.header + b"\n" + lines

    def _read(self, key: str, symbol: str) -> Day:
        from botocore.exceptions import BotoCoreError, ClientError
        from urllib3.exceptions import HTTPError

        try:
            body = self._client.get_object(Bucket=BUCKET, Key=key)["Body"]
            with body:
                found = scan(_blocks(body), frozenset({*self.symbols, symbol}), key)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in ABSENT:
                return Day(b"", {})
            raise _failure(code, key, symbol) from None
        except (zlib.error, gzip.BadGzipFile, EOFError) as error:
            raise SourceFormatError(f"{symbol}: {key} is damaged: {error}", symbol) from None
        except (BotoCoreError, HTTPError, OSError) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
            raise SourceUnavailable(
                f"{symbol}: the flat files did not answer ({reason})", symbol
            ) from None
        except SourceFormatError as error:
            raise SourceFormatError(f"{symbol}: {error}", symbol) from None
        return found

    @cached_property
    def _client(self) -> Any:
        import boto3
        from botocore.config import Config

        # At its finest level it writes every request's headers, the access key among them.
        logging.getLogger("botocore").setLevel(logging.INFO)
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.url or ENDPOINT,
            aws_access_key_id=self.key.get_secret_value(),
            aws_secret_access_key=self.secret.get_secret_value(),
            region_name="us-east-1",
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                connect_timeout=self.timeout_s,
                read_timeout=self.timeout_s,
                retries={"total_max_attempts": 1},
            ),
        )


def object_key(interval: str, date: pd.Timestamp) -> str:
    """Name the file of a session."""
    return f"{SETS[interval]}/{date:%Y/%m/%Y-%m-%d}.csv.gz"


def _failure(code: str, key: str, symbol: str) -> SourceError:
    if code in REFUSED:
        return NotInPlan(
            f"{symbol}: {key}: refused ({code}). Check that your plan at Massive includes the "
            "flat files of that day, or ask for fewer years (TREMOR_HISTORY_YEARS).",
            symbol,
        )
    if code in WRONG_KEY:
        return SourceError(
            f"{symbol}: the flat files do not take the keys ({code}). Check "
            "TREMOR_POLYGON_FLAT_KEY and TREMOR_POLYGON_FLAT_SECRET.",
            symbol,
        )
    if code in ("SlowDown", "429", "TooManyRequests"):
        return RateLimited(f"{symbol}: the flat files ask for patience ({code})", symbol)
    return SourceUnavailable(f"{symbol}: {key}: the flat files answered {code[:80]!r}", symbol)


def _blocks(packed: Any) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=packed, mode="rb") as file:
        while block := file.read(BLOCK):
            yield block


def scan(blocks: Iterable[bytes], tickers: frozenset[str], name: str) -> Day:
    """Keep the lines of ``tickers`` while the file passes by, as they came.

    Only one block and what was kept are in memory. A ticker without a line has none.

    Raises
    ------
    SourceFormatError
        When there is no column ``ticker``, or no end to a line.
    """
    header, pattern, rest = b"", None, b""
    kept: dict[str, list[bytes]] = {ticker: [] for ticker in tickers}
    for block in blocks:
        data = rest + block
        if pattern is None:
            header, newline, data = data.partition(b"\n")
            if not newline:
                _check_length(header, name)
                rest = header
                continue
            header = header.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r")
            pattern, data = _pattern(header, tickers, name), b"\n" + data
        cut = max(data.rfind(b"\n"), 0)
        _collect(pattern, data, cut, kept)
        rest = data[cut:]
        _check_length(rest, name)
    if pattern is None:
        header, pattern = rest.rstrip(b"\r"), _pattern(rest, tickers, name)
        rest = b""
    _collect(pattern, rest, len(rest), kept)
    return Day(header, {ticker: zlib.compress(b"".join(runs), 1) for ticker, runs in kept.items()})


def _check_length(line: bytes, name: str) -> None:
    if len(line) > LONGEST_LINE:
        raise SourceFormatError(f"{name} has a line longer than {LONGEST_LINE} bytes")


def _pattern(header: bytes, tickers: frozenset[str], name: str) -> re.Pattern[bytes]:
    """Match a run of adjacent lines of one wanted ticker, each with the line end before it.

    Tickers are sorted by their first letter, so that a long list costs no more than 26 tries.
    """
    columns = header.rstrip(b"\r").split(b",")
    if b"ticker" not in columns:
        raise SourceFormatError(f"{name} has no column ticker; it begins {header[:80]!r}")
    place = columns.index(b"ticker")
    before = rb"(?:[^,\n]*,){%d}" % place if place else b""
    wanted = b"|".join(
        re.escape(first.encode())
        + rb"(?:"
        + b"|".join(re.escape(ticker[1:].encode()) for ticker in alike)
        + rb")"
        for first, alike in groupby(sorted(tickers), lambda ticker: ticker[0])
    )
    tail = rb"(?=[,\r\n]|\Z)[^\n]*"
    return re.compile(
        rb"\n" + before + rb"(?P<ticker>" + wanted + rb")" + tail
        + rb"(?:\n" + before + rb"(?P=ticker)" + tail + rb")*"
    )  # fmt: skip


def _collect(
    pattern: re.Pattern[bytes], data: bytes, end: int, kept: dict[str, list[bytes]]
) -> None:
    # One turn a run of lines, not a line: tickers lie together in these files.
    for run in pattern.finditer(data, 0, end):
        kept[run["ticker"].decode()].append(run[0][1:] + b"\n")
