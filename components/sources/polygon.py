"""Massive's (Polygon's) bars of US stocks: by REST, and whole days by flat files."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final
from urllib.parse import urlsplit

import pandas as pd
from pydantic import SecretStr

from components.errors import InvalidSymbol, SettingsError, SymbolNotFound
from components.records import CandleRequest, Parsed, RawReply
from components.sessions import length
from components.sources.base import Traits, check_symbol
from components.sources.budget import Budget
from components.sources.polygon_errors import NotInPlan
from components.sources.polygon_flat import SETS, FlatFiles
from components.sources.polygon_pages import (
    TAR,
    actions_of,
    numbered,
    packed,
    parse_archive,
    results_of,
    within,
)
from components.sources.polygon_rest import Rest
from components.sources.polygon_spans import (
    DAY,
    NEW_YORK,
    before_today,
    by_months,
    by_sessions,
    midnight,
    sessions_of,
)

STOCK: Final = re.compile(r"^[A-Za-z][A-Za-z0-9]{0,9}(?:\.[A-Za-z]{1,3})?$", re.ASCII)

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
    traits: ClassVar[Traits] = Traits(at_once=4, absent="no trade", calendar="XNYS")

    def symbols(self) -> tuple[str, ...]:
        """Massive has every US stock; the watch list chooses."""
        return ()

    def pieces(self, request: CandleRequest) -> tuple[CandleRequest, ...]:
        """Days by REST are one reply; minutes are one a session (files) or a month of New York."""
        step = _checked(request.interval)
        if self._is_by_files(request):
            return by_sessions(request) if step < DAY else by_months(request, "UTC")
        return (request,) if step >= DAY else by_months(request, NEW_YORK)

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
        dates, members, absent = sessions_of(request), {}, []
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
        age = request.as_of - midnight(date + DAY)
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
            before = before_today(request)
            if before is None:
                raise
            pages = rest.bars(before) if before.since < before.until else []
            absent = "today, which the plan gives later"
        if not any(results_of(page.content, symbol) for page in pages):
            rest.check_known(symbol)
        has_today = before_today(request) is not None
        if has_today and any(page.content.get("status") == "DELAYED" for page in pages):
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
