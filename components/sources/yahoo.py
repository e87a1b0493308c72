"""Yahoo's daily and intraday candles, through yfinance's session, bytes as they came."""

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import pandas as pd

from components.errors import (
    RateLimited,
    SourceFormatError,
    SourceUnavailable,
    SymbolNotFound,
)
from components.records import CandleRequest, Parsed, RawReply
from components.sources.base import Traits, check_symbol
from components.sources.chart import NO_DATA, chart_result, parse_chart

YAHOO = "https://query2.finance.yahoo.com"

# Yahoo gives a daily bar the time of its opening, which in Sydney is the day before in UTC.
OPENING_AHEAD = pd.Timedelta(days=1)

KEPT_DETAILS = ("currency", "exchangeName", "exchangeTimezoneName", "instrumentType", "symbol")


def _now() -> pd.Timestamp:
    return pd.Timestamp.now("UTC")


class Pace:
    """At most so many calls a second, whichever thread makes them."""

    def __init__(self, per_second: float) -> None:
        self._spacing_s = 1 / per_second
        self._lock = threading.Lock()
        self._next = 0.0

    def wait(self) -> None:
        """Sleep until the next call is due."""
        with self._lock:
            now = time.monotonic()
            due = max(now, self._next)
            self._next = due + self._spacing_s
        time.sleep(due - now)


def opened(
    *,
    yahoo_url: str = "",
    yahoo_requests_per_second: float = 2.0,
    timeout_s: float = 30.0,
    state_dir: Path | None = None,
    **_: object,
) -> "Yahoo":
    """Open Yahoo as the settings say; its cookies lie beside what else is embedded."""
    cache_dir = None if state_dir is None else state_dir / "yfinance"
    return Yahoo(yahoo_url, yahoo_requests_per_second, timeout_s, cache_dir)


@dataclass(frozen=True)
class Yahoo:
    """Yahoo's chart API, version 8.

    yfinance supplies the browser's handshake, cookie and crumb; its own tables are not used,
    because they answer a failure and a delisted name alike, with an empty frame.

    Parameters
    ----------
    base_url : str, default=""
        Scheme and host (a gateway, a stand-in) that answer in place of all of Yahoo's hosts.
    requests_per_second : float, default=2
        Politeness of this process.
    timeout_s : float, default=30
        Patience with one request.
    cache_dir : Path, optional
        Where yfinance keeps its cookies; its own place when absent.
    """

    base_url: str = ""
    requests_per_second: float = 2.0
    timeout_s: float = 30.0
    cache_dir: Path | None = None
    clock: Callable[[], pd.Timestamp] = _now
    name: str = "yahoo"
    traits: ClassVar[Traits] = Traits()
    _pace: Pace = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_pace", Pace(self.requests_per_second))

    def symbols(self) -> tuple[str, ...]:
        """Yahoo does not say what it has."""
        return ()

    def pieces(self, request: CandleRequest) -> tuple[CandleRequest, ...]:
        """A chart is one reply."""
        return (request,)

    def fetch(self, request: CandleRequest) -> RawReply:
        """Ask for the bars since ``since``, always up to ``as_of``.

        Yahoo restates prices by later splits, so only a reply that reaches today has all of
        the splits by which its prices were divided.
        """
        symbol = check_symbol(request.symbol)
        path = f"/v8/finance/chart/{quote(symbol, safe='')}"
        params = _params(request)
        self._pace.wait()
        status, body = self._ask(f"{YAHOO}{path}", params, symbol)
        observed_at = min(self.clock(), request.as_of)
        result = _classified(status, body, symbol)
        meta = (result or {}).get("meta") or {}
        details = {name: str(meta[name]) for name in KEPT_DETAILS if name in meta}
        url = f"{self.base_url.rstrip('/') or YAHOO}{path}?{urlencode(params)}"
        return RawReply(self.name, request, url, status, observed_at, body, details)

    def parse(self, reply: RawReply) -> Parsed:
        """Turn the chart into rows; one of another instrument or interval is no answer."""
        request = reply.request
        result = chart_result(reply.body, request.symbol)
        meta = (result or {}).get("meta") or {}
        for name, wanted in (("symbol", request.symbol), ("dataGranularity", request.interval)):
            given = str(meta.get(name, wanted))
            if given.upper() != wanted.upper():
                raise SourceFormatError(
                    f"{request.symbol}: asked for {name} {wanted}, Yahoo answered with {given}",
                    request.symbol,
                )
        return parse_chart(reply.body, request.symbol, request.interval)

    def _ask(self, url: str, params: dict[str, str], symbol: str) -> tuple[int, bytes]:
        import curl_cffi
        from yfinance.exceptions import YFException, YFRateLimitError

        data = _connection(self.base_url, self.timeout_s, self.cache_dir)
        try:
            response = data.get(url=url, params=params, timeout=self.timeout_s)
            return int(response.status_code), bytes(response.content)
        except YFRateLimitError:
            raise RateLimited(f"{symbol}: Yahoo asks for patience (HTTP 429)", symbol) from None
        except (curl_cffi.CurlError, YFException, OSError, LookupError, TypeError, ValueError) as e:
            # The last three are what yfinance raises on a consent page that it cannot read.
            reason = " ".join(f"{type(e).__name__}: {e}".split(" See http")[0].split())[:160]
            raise SourceUnavailable(f"{symbol}: Yahoo did not answer ({reason})", symbol) from None


def _params(request: CandleRequest) -> dict[str, str]:
    return {
        "period1": str(int((request.since - OPENING_AHEAD).timestamp())),
        "period2": str(int(request.as_of.timestamp())),
        "interval": request.interval,
        "includePrePost": "false",
        "events": "div,splits",
    }


def _classified(status: int, body: bytes, symbol: str) -> Any:
    """Give the chart's result (None: no bar in the range), or raise what the reply means."""
    text = body[:500].decode("utf-8", errors="replace")
    chart = _chart_of(body)
    said = str(chart.get("error") or "") if chart is not None else text
    if status == 429 or "Too Many Requests" in text:
        raise RateLimited(f"{symbol}: Yahoo asks for patience (HTTP {status})", symbol)
    if status in (400, 422) and NO_DATA in said.lower():
        return None
    if chart is not None and ("Not Found" in said or "delisted" in said):
        raise SymbolNotFound(
            f"{symbol}: Yahoo knows no such instrument (HTTP {status}). It may be delisted or "
            "renamed; drop it or correct it in the list of symbols.",
            symbol,
        )
    if chart is None or status >= 500 or status in (401, 403, 404, 407, 408):
        begin = " ".join(text.split())[:80]
        raise SourceUnavailable(
            f"{symbol}: Yahoo answered HTTP {status} and no chart: {begin!r}", symbol
        )
    return chart_result(body, symbol)


def _chart_of(body: bytes) -> dict[str, Any] | None:
    try:
        chart = json.loads(body)["chart"]
    except (ValueError, LookupError, TypeError):
        return None
    return chart if isinstance(chart, dict) else None


@lru_cache(maxsize=8)
def _session(base_url: str, timeout_s: float) -> Any:
    """Make a browser-like session; with ``base_url`` every host is answered by that one."""
    from curl_cffi import requests

    base: Any = requests.Session

    class Session(base):  # type: ignore[misc]
        def request(self, method: str, url: str, **kwargs: Any) -> Any:
            # yfinance waits 30 s for its cookie whatever time-out it was given.
            kwargs["timeout"] = min(kwargs.get("timeout") or timeout_s, timeout_s)
            return super().request(method, _redirected(url, base_url), **kwargs)

    return Session(impersonate="chrome")


def _redirected(url: str, base_url: str) -> str:
    if not base_url:
        return url
    scheme, host, prefix, *_ = urlsplit(base_url)
    _, _, path, query, fragment = urlsplit(url)
    return urlunsplit((scheme, host, prefix.rstrip("/") + path, query, fragment))


def _connection(base_url: str, timeout_s: float, cache_dir: Path | None) -> Any:
    """Give yfinance's connection with our session, as if it were new."""
    import yfinance.cache
    import yfinance.data

    # It warns of a missing cookie, which the chart does not need.
    logging.getLogger("yfinance").setLevel(logging.ERROR)
    # yfinance has no public way to ask where its caches are, or to forget a crumb.
    location = yfinance.cache._TzDBManager.get_location()  # noqa: SLF001
    if cache_dir is not None and location != str(cache_dir):
        yfinance.cache.set_cache_location(str(cache_dir))
    data: Any = yfinance.data.YfData(session=_session(base_url, timeout_s))
    # It is one object a process, and keeps whatever text came in place of a crumb: a single
    # 502 while asking for the crumb would spoil every later request.
    crumb = data._crumb  # noqa: SLF001
    if crumb is not None and not _is_crumb(crumb):
        data._crumb = None  # noqa: SLF001
    return data


def _is_crumb(text: str) -> bool:
    return 0 < len(text) <= 32 and " " not in text and "<" not in text and "{" not in text
