"""Massive's REST API (once Polygon's) through its official client, bytes as they came."""

import re
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import pandas as pd
from pydantic import SecretStr

from components.errors import SourceError, SourceFormatError, SourceUnavailable
from components.records import CandleRequest
from components.sources.budget import Budget
from components.sources.once import Once
from components.sources.polygon_errors import Answer, NoSuchPage, failure_of, json_of
from components.sources.polygon_pages import content_of, results_of
from components.sources.polygon_spans import session_date, span_of

API: Final = "https://api.massive.com"
HOSTS: Final = ("api.massive.com", "api.polygon.io")

# What a page may hold: 50 000 bars are about 6 MB.
BARS_A_PAGE, ACTIONS_A_PAGE = 50_000, 1000
MAX_BYTES, MAX_PAGES = 64 * 2**20, 500

# A letter as JSON may disguise it.
ESCAPED: Final = re.compile(rb"\\u00([2-7][0-9A-Fa-f])")

# A key this short is a gateway's place-holder, and may stand in any text.
SHORTEST_KEY = 8


@dataclass(frozen=True)
class Page:
    """One reply of the API: its bytes, and what they say."""

    body: bytes
    content: Mapping[str, Any]


@dataclass(frozen=True)
class Rest:
    """The API's questions that this project asks.

    Parameters
    ----------
    key : SecretStr
        Sent in a header to ``base_url`` alone; struck out of whatever comes back.
    base_url : str, default=""
        A gateway's address that stands for the API.
    timeout_s : float, default=30
        Patience with one request, s.
    """

    key: SecretStr
    base_url: str = ""
    timeout_s: float = 30.0
    budget: Budget = field(default_factory=lambda: Budget(5), repr=False, compare=False)
    _actions: Once[tuple[str, pd.Timestamp], tuple[list[bytes], list[bytes]]] = field(
        default_factory=lambda: Once(4096, lambda _: 1), init=False, repr=False, compare=False
    )
    _known: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    @property
    def base(self) -> str:
        """The address that is asked."""
        return self.base_url.rstrip("/") or API

    def bars(self, request: CandleRequest) -> list[Page]:
        """Ask for the bars that open in [since, until), prices as traded: all pages."""
        symbol, (multiplier, span, since, until) = request.symbol, span_of(request)

        def first(client: Any) -> Any:
            return client.list_aggs(
                symbol, multiplier, span, since, until,
                adjusted=False, sort="asc", limit=BARS_A_PAGE, raw=True,
            )  # fmt: skip

        pages = self._pages(first, symbol, "/v2/aggs/")
        if any(results_of(page.content, symbol) for page in pages):
            self._known.add(symbol)
        return pages

    def address(self, request: CandleRequest) -> str:
        """Tell at which address the bars are; it holds no key."""
        path = "/".join(map(str, span_of(request)))
        query = urlencode({"adjusted": "false", "sort": "asc", "limit": BARS_A_PAGE})
        path = f"/v2/aggs/ticker/{request.symbol}/range/{path}"
        return f"{self.base}{path}?{query}"

    def actions(self, request: CandleRequest) -> tuple[list[bytes], list[bytes]]:
        """Ask for all splits and dividends up to the day of ``as_of``; once a symbol and day.

        A backfill of minutes asks for months or days of bars; to ask for each one's actions
        would treble the requests.
        """
        symbol, today = request.symbol, session_date(request.as_of)

        def ask() -> tuple[list[bytes], list[bytes]]:
            def splits(client: Any) -> Any:
                return client.list_splits(
                    symbol, execution_date_lte=f"{today:%Y-%m-%d}", limit=ACTIONS_A_PAGE,
                    sort="execution_date", order="asc", raw=True,
                )  # fmt: skip

            def dividends(client: Any) -> Any:
                return client.list_dividends(
                    symbol, ex_dividend_date_lte=f"{today:%Y-%m-%d}", limit=ACTIONS_A_PAGE,
                    sort="ex_dividend_date", order="asc", raw=True,
                )  # fmt: skip

            of_splits = self._pages(splits, symbol, "/v3/reference/splits")
            of_dividends = self._pages(dividends, symbol, "/v3/reference/dividends")
            return [page.body for page in of_splits], [page.body for page in of_dividends]

        return self._actions.get((symbol, today), ask)

    def check_known(self, symbol: str) -> None:
        """Raise when the API knows no such instrument: a range without bars does not tell.

        Raises
        ------
        SymbolNotFound
            When it says so.
        """
        if symbol not in self._known:
            # A gateway may serve nothing but bars.
            with suppress(NoSuchPage):
                self._ask(lambda client: client.get_ticker_details(symbol, raw=True), symbol)
            self._known.add(symbol)

    def _pages(self, first: Callable[[Any], Any], symbol: str, kind: str) -> list[Page]:
        pages, seen = [self._page(first, symbol)], set()
        while path := self._next_path(pages[-1].content, symbol, kind):
            if path in seen or len(pages) >= MAX_PAGES:
                raise SourceFormatError(f"{symbol}: the pages of the reply never end", symbol)
            seen.add(path)
            pages.append(self._page(_turned_to(path), symbol))
        return pages

    def _page(self, call: Callable[[Any], Any], symbol: str) -> Page:
        body = self._ask(call, symbol)
        return Page(body, content_of(body, symbol))

    def _next_path(self, content: Mapping[str, Any], symbol: str, kind: str) -> str:
        """Give the next page's path, which is asked of ``base``: the key goes nowhere else."""
        if not content.get("next_url"):
            return ""
        base = urlsplit(self.base)
        try:
            url = urlsplit(str(content["next_url"]))
            host, is_own = url.hostname or "", url.netloc.rpartition("@")[2] == base.netloc
        except ValueError:
            host, is_own = "", False
        if not is_own and host not in HOSTS:
            raise SourceFormatError(
                f"{symbol}: the next page is said to be at {host[:80]!r}, not at {base.netloc}: "
                "not followed, for the key goes nowhere else",
                symbol,
            )
        path = url.path.removeprefix(base.path) if is_own else url.path
        query = [pair for pair in parse_qsl(url.query, True) if pair[0].lower() != "apikey"]
        following = f"{quote(path, safe='/:.,=-_')}?{urlencode(query)}"
        if not path.startswith(kind) or ".." in path or self._has_key(unquote(following)):
            raise SourceFormatError(f"{symbol}: the next page's address is none: {kind}", symbol)
        return following

    def _ask(self, call: Callable[[Any], Any], symbol: str) -> bytes:
        try:
            with self.budget:
                answer = self._answer(call)
        except (self._errors, OSError) as error:
            reason = self._said(f"{type(error).__name__}: {error}")
            raise SourceUnavailable(
                f"{symbol}: Massive did not answer ({reason})", symbol
            ) from None
        if len(answer.body) > MAX_BYTES:
            raise SourceFormatError(f"{symbol}: the reply is larger than any page", symbol)
        if answer.status != 200:
            raise self._failure(answer, symbol)
        return self._struck(answer.body)

    def _answer(self, call: Callable[[Any], Any]) -> Answer:
        # Read to its end, a reply leaves its connection to the next one.
        with closing(call(self._client)) as reply:
            body = reply.read(MAX_BYTES + 1)
            return Answer(int(reply.status), body, str(reply.headers.get("Retry-After", "")))

    def _failure(self, answer: Answer, symbol: str) -> SourceError:
        if answer.status in (429, 503):
            self.budget.hold(self._patience_s(answer))
        content = json_of(answer.body)
        said = self._said(
            str(content.get("error") or content.get("message") or "")
            or answer.body[:300].decode("utf-8", errors="replace")
        )
        is_unknown = content.get("status") == "NOT_FOUND"
        return failure_of(answer.status, said, symbol, is_unknown=is_unknown)

    def _patience_s(self, answer: Answer) -> float:
        from urllib3.exceptions import HTTPError
        from urllib3.util.retry import Retry

        # Without a word from the server the whole window has to pass.
        default = self.budget.window_s if answer.status == 429 else 0.0
        try:
            return float(Retry().parse_retry_after(answer.retry_after))
        except (HTTPError, ValueError, OverflowError):
            return default

    def _said(self, text: str) -> str:
        """A text from outside in one line, short, without the key."""
        return " ".join(self._struck(text.encode()).decode().split())[:160]

    def _struck(self, body: bytes) -> bytes:
        key = self.key.get_secret_value()
        if len(key) < SHORTEST_KEY:
            return body
        plain = ESCAPED.sub(lambda match: bytes.fromhex(match[1].decode()), body)
        if plain.count(key.encode()) > body.count(key.encode()):
            body = plain
        for form in {key, quote(key, safe="")}:
            body = body.replace(form.encode(), b"*" * 8)
        return body

    def _has_key(self, text: str) -> bool:
        key = self.key.get_secret_value()
        return len(key) >= SHORTEST_KEY and key in text

    @cached_property
    def _errors(self) -> type[Exception]:
        from urllib3.exceptions import HTTPError

        return HTTPError

    @cached_property
    def _client(self) -> Any:
        from massive import RESTClient

        base: Any = RESTClient

        class Client(base):  # type: ignore[misc]
            """The official client, whose replies keep their status and their bytes."""

            def page(self, path: str, params: Any = None) -> Any:
                return self.client.request(
                    "GET", self.BASE + path, fields=params, headers=self.headers,
                    preload_content=False,
                )  # fmt: skip

            def _get(self, path: str, params: Any = None, **_: Any) -> Any:
                return self.page(path, params)

        # Retries are the caller's, who knows the budget; a redirect would take the key elsewhere.
        return Client(
            api_key=self.key.get_secret_value(),
            base=self.base,
            connect_timeout=self.timeout_s,
            read_timeout=self.timeout_s,
            connection_pool_kw={"retries": False},
        )


def _turned_to(path: str) -> Callable[[Any], Any]:
    return lambda client: client.page(path)
