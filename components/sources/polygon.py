"""Massive's (Polygon's) bars of US stocks: by REST, and whole days by flat files."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar, Final
from urllib.parse import urlsplit

import pandas as pd
from pydantic import SecretStr

from components.errors import InvalidSymbol, SettingsError, SymbolNotFound
from components.records import CandleRequest, Parsed, RawReply
from components.sessions import Calendars, length
from components.sources.base import Traits, check_symbol
from components.sources.budget import Budget
from components.sources.polygon_flat import SETS, FlatFiles
from components.sources.polygon_pages import (
    DAY,
    NEW_YORK,
    TAR,
    actions_of,
    numbered,
    packed,
    parse_archive,
    results_of,
    session_date,
    within,
)
from components.sources.polygon_rest import NotInPlan, Rest

STOCK: Final = re.compile(r"^[A-Za-z][A-Za-z0-9]{0,9}(?:\.[A-Za-z]{1,3})?$", re.ASCII)

# Any instrument of New York stands for its calendar, whose days the flat files have.
OF_NEW_YORK: Final = "SPY"

# Extended hours, counted from midnight in New York.
FIRST_TRADE: Final = pd.Timedelta(hours=4)
LAST_TRADE: Final = pd.Timedelta(hours=20)

# So long after a session its file is there, if the plan includes it.
LATE: Final = pd.Timedelta(days=3)

NOTHING: Final = SecretStr("")


def _now() -> pd.Timestamp:
    return pd.Timestamp.now("UTC")


def opened(
    *,
    polygon_api_key: SecretStr = NOTHING,
    polygon_url: str = "",
    polygon_requests_per_minute: float = 5.0,
    polygon_flat_key: SecretStr = NOTHING,
    polygon_flat_secret: SecretStr = NOTHING,
    polygon_flat_url: str = "",
    timeout_s: float = 30.0,
    symbols: tuple[str, ...] = (),
    **_: object,
) -> "Polygon":
    """Open the REST API, the flat files, or both, as the settings say."""
    key, access = polygon_api_key.get_secret_value(), polygon_flat_key.get_secret_value()
    secret = polygon_flat_secret.get_secret_value()
    if bool(access) != bool(secret):
        absent = "KEY" if secret else "SECRET"
        raise SettingsError(
            f"TREMOR_POLYGON_FLAT_{absent} is not set: the flat files need a key and its secret."
        )
    if not key and not access:
        raise SettingsError(
            "TREMOR_POLYGON_API_KEY is not set, and the source 'polygon' asks nobody without it. "
            "Set it to the key that your dashboard at massive.com shows."
        )
    for name, text in (("API_KEY", key), ("FLAT_KEY", access), ("FLAT_SECRET", secret)):
        if not (text.isascii() and text.isprintable() and " " not in text):
            raise SettingsError(
                f"TREMOR_POLYGON_{name} holds a character that no key has. Copy it again."
            )
    _check_address("URL", polygon_url)
    _check_address("FLAT_URL", polygon_flat_url)
    rest = Rest(polygon_api_key, polygon_url, timeout_s, Budget(polygon_requests_per_minute))
    flat = FlatFiles(
        polygon_flat_key, polygon_flat_secret, polygon_flat_url, timeout_s,
        tuple(symbol for symbol in symbols if STOCK.match(symbol)),
    )  # fmt: skip
    return Polygon(rest if key else None, flat if access else None)


def _check_address(name: str, url: str) -> None:
    parts = urlsplit(url)
    if url and (parts.scheme not in ("http", "https") or not parts.hostname or "@" in url):
        raise SettingsError(
            f"TREMOR_POLYGON_{name} is no address. Write it like https://host, without a user."
        )


@dataclass(frozen=True)
class Polygon:
    """Bars of US stocks as they were traded, extended hours included.

    Minutes come from the flat files where their keys are set, one file a session of New York;
    sessions that are not published yet, and all else, come by REST, minutes a month at a time.
    A minute without a trade has no bar.

    Parameters
    ----------
    rest : Rest, optional
        The API; absent, the flat files alone.
    flat : FlatFiles, optional
        The files; absent, the API alone.
    """

    rest: Rest | None = None
    flat: FlatFiles | None = None
    clock: Callable[[], pd.Timestamp] = _now
    name: str = "polygon"
    traits: ClassVar[Traits] = Traits(at_once=4, absent="no trade")

    def symbols(self) -> tuple[str, ...]:
        """Massive has every US stock; the watch list chooses."""
        return ()

    def pieces(self, request: CandleRequest) -> tuple[CandleRequest, ...]:
        """Days by REST are one reply; minutes are one a session (files) or a month of New York."""
        step = _checked(request.interval)
        if self._is_by_files(request):
            return _of_sessions(request) if step < DAY else _of_months(request, "UTC")
        return (request,) if step >= DAY else _of_months(request, NEW_YORK)

    def fetch(self, request: CandleRequest) -> RawReply:
        """Ask for the bars of one piece, and for the splits and dividends up to ``as_of``."""
        _checked(request.interval)
        _check_stock(request.symbol)
        if self.flat is not None and self._is_by_files(request):
            reply = self._from_files(request, self.flat)
            if reply.status == 200 or self.rest is None:
                return reply
        if self.rest is None:
            raise SettingsError(
                f"the flat files have 1m and 1d bars, no {request.interval} ones. Set "
                "TREMOR_POLYGON_API_KEY, or another interval."
            )
        return self._by_rest(request, self.rest)

    def parse(self, reply: RawReply) -> Parsed:
        """Turn the archive of pages and lines into rows."""
        return parse_archive(reply)

    def _is_by_files(self, request: CandleRequest) -> bool:
        """Days come by REST where it can be asked: one request in place of a file a day."""
        if self.flat is None or request.interval not in SETS:
            return False
        return self.rest is None or request.interval == "1m"

    def _from_files(self, request: CandleRequest, flat: FlatFiles) -> RawReply:
        observed_at = min(self.clock(), request.as_of)
        dates, members, absent = _sessions(request), {}, []
        for date in dates:
            lines = self._lines(request, flat, date)
            if lines is None:
                absent.append(f"{date:%Y-%m-%d}")
            else:
                members[f"{date:%Y-%m-%d}.csv"] = lines
        if self.rest is not None and members and not absent:
            if not any(body.count(b"\n") > 1 for body in members.values()):
                self.rest.check_known(request.symbol)
            members |= _actions(request, self.rest, only_within=True)
        url = flat.address(request.interval, dates[0] if len(dates) else request.since)
        details = {"kind": TAR, "from": "flat files"}
        if absent:
            details["absent"] = ", ".join(absent)
        status = 206 if absent else 200
        return RawReply(self.name, request, url, status, observed_at, packed(members), details)

    def _lines(self, request: CandleRequest, flat: FlatFiles, date: pd.Timestamp) -> bytes | None:
        # A file comes out the day after its session; until then it is not worth asking for.
        age = request.as_of - _midnight(date + DAY)
        if age < pd.Timedelta(0):
            return None
        try:
            return flat.lines(request.interval, date, request.symbol)
        except NotInPlan:
            # The server answers a file that is not there yet in the same way.
            if self.rest is not None or age < LATE:
                return None
            raise

    def _by_rest(self, request: CandleRequest, rest: Rest) -> RawReply:
        symbol, absent = request.symbol, ""
        observed_at = min(self.clock(), request.as_of)
        try:
            pages = rest.bars(request)
        except NotInPlan:
            # The free plan refuses a range that reaches into today.
            before = _before_today(request)
            if before is None:
                raise
            pages = rest.bars(before) if before.since < before.until else []
            absent = "today, which the plan gives later"
        if not any(results_of(page.content, symbol) for page in pages):
            rest.check_known(symbol)
        is_recent = request.until > request.as_of - DAY
        if is_recent and any(page.content.get("status") == "DELAYED" for page in pages):
            absent = absent or "the newest bars, which the plan gives later"
        members = numbered("aggs", [page.body for page in pages]) | _actions(request, rest)
        details = {"kind": TAR, "from": "REST", "pages": str(len(pages))}
        if absent:
            details["absent"] = absent
        url, status = rest.address(request), 206 if absent else 200
        return RawReply(self.name, request, url, status, observed_at, packed(members), details)


def _actions(request: CandleRequest, rest: Rest, *, only_within: bool = False) -> dict[str, bytes]:
    """Give the pages of splits and dividends; perhaps only where the piece has any."""
    splits, dividends = rest.actions(request)
    if only_within and within(actions_of(splits, dividends, request.symbol), request).empty:
        return {}
    return numbered("splits", splits) | numbered("dividends", dividends)


def _before_today(request: CandleRequest) -> CandleRequest | None:
    """Cut a request at the beginning of New York's day; None when it ends before it."""
    today = session_date(request.as_of)
    edge = today if length(request.interval) >= DAY else _midnight(today)
    return None if request.until <= edge else replace(request, until=edge)


def _checked(interval: str) -> pd.Timedelta:
    step = length(interval)
    if step > DAY:
        raise SettingsError(
            f"the source polygon has no {interval} bars. Set TREMOR_INTERVAL to 1d or shorter."
        )
    return step


def _check_stock(symbol: str) -> None:
    allowed = (
        "The source polygon has US stocks, named like AAPL or BRK.B; take coins and currencies "
        "from another source."
    )
    if ":" in symbol:
        raise InvalidSymbol(f"{symbol[:40]!r} is no name of a stock. {allowed}")
    if STOCK.match(check_symbol(symbol)) is None:
        raise SymbolNotFound(f"{symbol}: not a name of a stock. {allowed}", symbol)


def _midnight(date: pd.Timestamp) -> pd.Timestamp:
    """Give the instant at which a date begins in New York."""
    local = date.tz_localize(None).normalize().tz_localize(NEW_YORK)
    return local.tz_convert("UTC").as_unit("us")


def _sessions(request: CandleRequest) -> pd.DatetimeIndex:
    """List the dates of New York's sessions in the request."""
    since, until = request.since, request.until
    if length(request.interval) < DAY:
        last = until - pd.Timedelta(microseconds=1)
        since, until = session_date(since), session_date(last) + DAY
    return Calendars().expected(OF_NEW_YORK, "1d", since, until)


def _of_sessions(request: CandleRequest) -> tuple[CandleRequest, ...]:
    dates = _sessions(request)
    spans = [(_midnight(date), _midnight(date + DAY)) for date in dates]
    # A few hours of a night, in which nothing trades, are not worth a file.
    return tuple(
        replace(request, since=max(begin, request.since), until=min(end, request.until))
        for begin, end in spans
        if request.since < begin + LAST_TRADE and request.until > begin + FIRST_TRADE
    )


def _of_months(request: CandleRequest, time_zone: str) -> tuple[CandleRequest, ...]:
    since, until = (ts.tz_convert(time_zone) for ts in (request.since, request.until))
    edges = pd.date_range(since, until, freq="MS", normalize=True).tz_convert("UTC").as_unit("us")
    # Less than a day, as between midnight in London and in New York, is no piece of its own.
    within = edges[(edges >= request.since + DAY) & (edges <= request.until - DAY)]
    return tuple(
        replace(request, since=begin, until=end)
        for begin, end in pairwise([request.since, *within, request.until])
    )
