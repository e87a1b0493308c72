"""Binance's addresses, and the way there: whole bodies, one connection a thread, patience."""

import hashlib
import threading
import time
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

import pandas as pd
import requests

from components.errors import RateLimited, SourceFormatError, SourceUnavailable
from components.records import CandleRequest

# A month of minutes is 2 MB packed, and a page of the REST API 0.3 MB.
MAX_BODY = 64 * 2**20
CHUNK = 2**18

# A longer wait than this is left to the next run.
PATIENCE_S = 120.0

# A body may trickle in, but not for longer than so many time-outs.
TIMEOUTS_A_BODY = 10

# Files are packed already, and are kept as they lie in the archive.
HEADERS: Final = {"Accept-Encoding": "identity", "User-Agent": "tremor"}


@dataclass(frozen=True)
class Market:
    """Where one of Binance's markets has its files and its REST API; ``limit`` bars a page."""

    folder: str
    api: str
    path: str
    limit: int


MARKETS: Final = {
    "spot": Market("spot", "https://data-api.binance.vision", "/api/v3/klines", 1000),
    "um": Market("futures/um", "https://fapi.binance.com", "/fapi/v1/klines", 1500),
}
ARCHIVE = "https://data.binance.vision"


@dataclass(frozen=True)
class Places:
    """Where a market's files and pages are.

    Parameters
    ----------
    market : str, default="spot"
        "spot", or "um" for USD-M futures.
    archive_url, api_url : str, default=""
        Scheme and host that answer in place of Binance's own.
    """

    market: str = "spot"
    archive_url: str = ""
    api_url: str = ""

    @property
    def limit(self) -> int:
        """How many bars the REST API shows on a page."""
        return MARKETS[self.market].limit

    def folder(self, request: CandleRequest, span: str) -> str:
        """Where the archive keeps an instrument's files of a ``span``, monthly or daily."""
        base = self.archive_url.rstrip("/") or ARCHIVE
        symbol = quote(request.symbol, safe="")
        market = MARKETS[self.market].folder
        return f"{base}/data/{market}/{span}/klines/{symbol}/{request.interval}"

    def page_url(
        self, request: CandleRequest, since: pd.Timestamp, until: pd.Timestamp, limit: int
    ) -> str:
        """Where the REST API shows the first ``limit`` bars that open in [since, until)."""
        market = MARKETS[self.market]
        asked = {
            "symbol": request.symbol,
            "interval": request.interval,
            "startTime": _milli(since),
            "endTime": _milli(until) - 1,
            "limit": limit,
        }
        return f"{self.api_url.rstrip('/') or market.api}{market.path}?{urlencode(asked)}"


@dataclass(frozen=True)
class Web:
    """GET for any number of threads.

    A server that asks for patience (429, 418) gets it from every thread: until its Retry-After
    has passed, the next request waits, or is not made when that is longer than two minutes.

    Parameters
    ----------
    timeout_s : float, default=30
        Patience with one connection, and with one silence within a body.
    """

    timeout_s: float = 30.0
    _local: threading.local = field(default_factory=threading.local, repr=False, compare=False)
    _quiet_until: dict[str, float] = field(default_factory=dict, repr=False, compare=False)

    def get(self, url: str, symbol: str) -> tuple[int, bytes]:
        """Give the status (200, 400 or 404) and the body.

        Raises
        ------
        RateLimited
            HTTP 429 or 418.
        SourceUnavailable
            Any other status, a time-out, a connection that broke, a body cut short.
        SourceFormatError
            A body larger than any candle file.
        """
        host = urlsplit(url).netloc
        self._wait(host, symbol)
        started = time.monotonic()
        try:
            with self._session().get(url, timeout=self.timeout_s, stream=True) as reply:
                status, patience = reply.status_code, reply.headers.get("Retry-After", "")
                body = bytearray()
                for chunk in reply.iter_content(CHUNK):
                    body += chunk
                    if time.monotonic() - started > TIMEOUTS_A_BODY * self.timeout_s:
                        raise requests.Timeout
                    if len(body) > MAX_BODY:
                        raise SourceFormatError(
                            f"{symbol}: {url} is larger than {MAX_BODY // 2**20} MB, which no "
                            "file of candles is. Check the address of the archive.",
                            symbol,
                        )
        except requests.RequestException as error:
            raise SourceUnavailable(
                f"{symbol}: {host} {_words_of(error)}. Check the network; the next run asks again.",
                symbol,
            ) from None
        if status in (418, 429):
            raise self._limited(host, symbol, status, patience)
        if status not in (200, 400, 404):
            raise SourceUnavailable(
                f"{symbol}: {host} answered HTTP {status}. The next run asks again; where Binance "
                "is barred (403, 451), set the address of a mirror or a gateway.",
                symbol,
            )
        return status, bytes(body)

    def verified(self, url: str, symbol: str) -> bytes | None:
        """Give a file of the archive whose checksum is right; None when there is none.

        Raises
        ------
        SourceUnavailable
            When file and CHECKSUM disagree twice: the archive may be replacing the file.
        """
        for _ in range(2):
            status, body = self.get(url, symbol)
            if status == 404:
                return None
            stated = self.get(f"{url}.CHECKSUM", symbol) if status == 200 else (status, b"")
            if stated[0] == 200 and _is_sum_of(stated[1], body, url):
                return body
        raise SourceUnavailable(
            f"{symbol}: {url} does not match its CHECKSUM, twice: it is being replaced, or was "
            "damaged on its way. The next run asks again.",
            symbol,
        )

    def _session(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.headers.update(HEADERS)
        session: requests.Session = self._local.session
        return session

    def _wait(self, host: str, symbol: str) -> None:
        left = self._quiet_until.get(host, 0.0) - time.monotonic()
        if left > PATIENCE_S:
            raise _patience(host, symbol, left)
        time.sleep(max(left, 0.0))

    def _limited(self, host: str, symbol: str, status: int, patience: str) -> RateLimited:
        # Without a number of seconds the caller's own back-off has to do.
        asked = float(patience) if patience.isdigit() else 0.0
        until = time.monotonic() + asked
        self._quiet_until[host] = max(until, self._quiet_until.get(host, 0.0))
        return _patience(host, symbol, asked, f" (HTTP {status})")


def _patience(host: str, symbol: str, left_s: float, said: str = "") -> RateLimited:
    span = f" of {left_s:.0f} s" if left_s else ""
    return RateLimited(
        f"{symbol}: {host} asks for patience{span}{said}. Run it again after that, "
        "or for fewer instruments.",
        symbol,
    )


def _is_sum_of(stated: bytes, body: bytes, url: str) -> bool:
    """Whether ``<sha256 in hex>  <file name>`` is said of this file."""
    words = stated[:500].decode("utf-8", "replace").split()
    is_named = len(words) < 2 or words[1].lstrip("*") == url.rpartition("/")[2]
    return bool(words) and is_named and words[0].lower() == hashlib.sha256(body).hexdigest()


def _words_of(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return "did not answer in time"
    if isinstance(error, requests.exceptions.SSLError):
        return "shows a certificate that is not trusted"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "broke off its answer"
    return f"is not reached ({type(error).__name__})"


def _milli(ts: pd.Timestamp) -> int:
    return int(ts.value // 1_000_000)
