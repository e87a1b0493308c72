"""Binance: whole months and days from its public archive, the last days from its REST API."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar, Final
from urllib.parse import quote, urlencode

import pandas as pd

from components.errors import SettingsError, SourceFormatError, SourceUnavailable, SymbolNotFound
from components.records import CandleRequest, Parsed, RawReply
from components.sessions import length
from components.sources import vision
from components.sources.base import Traits, check_symbol
from components.sources.binance_web import Web

INTERVALS: Final = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d")

# A piece is cut so that it holds a month of minutes, or up to a year of longer bars.
BARS_A_PIECE = 45_000
LONGEST_MONTH, MONTHS_A_PIECE = pd.Timedelta(days=31), 12

# Binance opened in July 2017: nothing is asked for that cannot be there.
OPENING: Final = pd.Timestamp("2017-07-01", tz="UTC")

DAY = pd.Timedelta(days=1)

# A month's file is there some days after its end; a name that REST knows no more may have
# daily files for so long.
LATEST_MONTHLY = pd.Timedelta(days=40)

# A bar that REST does not show so soon after its close is late rather than absent.
SETTLING = pd.Timedelta(minutes=10)

# With fewer days to go, asking where the bars begin costs as much as asking for the days.
WORTH_A_LOOK = 3

UNKNOWN_SYMBOL = (-1121, -1100)


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


def _now() -> pd.Timestamp:
    return pd.Timestamp.now("UTC")


def opened(
    *,
    binance_market: str = "spot",
    binance_archive_url: str = "",
    binance_api_url: str = "",
    timeout_s: float = 30.0,
    **_: object,
) -> "Binance":
    """Open Binance as the settings say."""
    return Binance(binance_market, binance_archive_url, binance_api_url, timeout_s)


@dataclass(frozen=True)
class Binance:
    """Binance's public archive, and its REST API for what the archive has not yet.

    A request costs, for each month, two questions (the file and its checksum); for a month
    without a file one more, which tells whether the instrument was listed by then, and two for
    each day if it was; and one for each 1000 bars (1500 on ``um``) of the last days.

    Parameters
    ----------
    market : str, default="spot"
        "spot", or "um" for USD-M futures.
    archive_url, api_url : str, default=""
        Scheme and host that answer in place of Binance's own.
    timeout_s : float, default=30
        Patience with one request.
    """

    market: str = "spot"
    archive_url: str = ""
    api_url: str = ""
    timeout_s: float = 30.0
    clock: Callable[[], pd.Timestamp] = _now
    name: str = "binance"
    traits: ClassVar[Traits] = Traits(at_once=8, absent="venue down")
    web: Web = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "web", Web(self.timeout_s))

    def symbols(self) -> tuple[str, ...]:
        """Binance has thousands; which are wanted it cannot tell."""
        return ()

    def pieces(self, request: CandleRequest) -> tuple[CandleRequest, ...]:
        """Cut at the ends of months, by the calendar, into at most 45 000 bars or a year.

        The cuts do not hang on where the request begins, so a repeated backfill makes the same
        inner pieces.
        """
        step = _step(request.interval)
        n_months = min(MONTHS_A_PIECE, max(1, int(BARS_A_PIECE * step / LONGEST_MONTH)))
        since, cut = request.since, []
        while since < request.until:
            month = (since.year * 12 + since.month - 1) // n_months * n_months + n_months
            end = pd.Timestamp(year=month // 12, month=month % 12 + 1, day=1, tz="UTC")
            cut.append(replace(request, since=since, until=min(end, request.until)))
            since = end
        return tuple(cut)

    def fetch(self, request: CandleRequest) -> RawReply:
        """Ask for files, verified by their checksums, and for the last days bar by bar.

        A day without a file among days that have one is absent (status 206): the archive may
        add it later.
        """
        check_symbol(request.symbol)
        return _Search(self, request).reply()

    def parse(self, reply: RawReply) -> Parsed:
        """Turn the files into rows, all of them: a month's file has the whole month."""
        return vision.parse_reply(reply)

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


class _Search:
    """One request on its way: the parts found so far, and what is known of the instrument."""

    def __init__(self, source: Binance, request: CandleRequest) -> None:
        self.source, self.request = source, request
        step = _step(request.interval)
        # Bars that open before this have closed at as_of.
        self.end = min(request.until, request.as_of.floor(step))
        self.since = max(request.since, OPENING)
        self.parts: list[tuple[str, bytes]] = []
        self.urls: list[str] = []
        self.missing: list[pd.Timestamp] = []
        self.filed_until = OPENING
        self.begins = OPENING
        self.is_unknown = False

    def reply(self) -> RawReply:
        for month in _starts(self.since, self.end, "MS"):
            self._month(month)
        absent = [day for day in self.missing if day < self.filed_until]
        absent += self._last_days()
        if self.is_unknown and not any(name.endswith(".zip") for name, _ in self.parts):
            raise SymbolNotFound(
                f"{self.request.symbol}: Binance's {self.source.market} market knows no such "
                "instrument, and its archive has no file for these bars. Correct or drop it, or "
                "set TREMOR_BINANCE_MARKET.",
                self.request.symbol,
            )
        if self.request.until > self.end:
            absent.append(self.end)
        return self._packed(absent)

    def _packed(self, absent: list[pd.Timestamp]) -> RawReply:
        is_one_file = len(self.parts) == 1 and self.parts[0][0].endswith(".zip")
        details = {
            "kind": vision.ZIP if is_one_file else vision.TAR,
            "files": ", ".join(name for name, _ in self.parts),
        }
        if absent:
            details["absent"] = ", ".join(_shown(ts) for ts in absent)
        return RawReply(
            self.source.name,
            self.request,
            self.urls[0] if self.urls else self.source.folder(self.request, "monthly"),
            206 if absent else 200,
            min(self.source.clock(), self.request.as_of),
            self.parts[0][1] if is_one_file else vision.packed(self.parts),
            details,
        )

    def _month(self, month: pd.Timestamp) -> None:
        month_end = month + pd.offsets.MonthBegin()
        if month_end <= self.begins:
            return
        is_complete = month_end <= self.request.as_of
        if is_complete:
            if self._take("monthly", f"{month:%Y-%m}", month_end):
                return
            self._look(max(month, self.since))
        is_recent = month_end + LATEST_MONTHLY > self.request.as_of
        if not self.is_unknown or is_recent:
            self._days(max(month, self.since.floor("D")), min(month_end, self.end))

    def _days(self, since: pd.Timestamp, until: pd.Timestamp) -> None:
        for day in _starts(since, until, "D"):
            day_end = day + DAY
            if day_end <= self.begins:
                continue
            is_complete = day_end <= self.request.as_of
            if is_complete and self._take("daily", f"{day:%Y-%m-%d}", day_end):
                continue
            if not self.urls and until - day >= WORTH_A_LOOK * DAY:
                self._look(max(day, self.since))
            if day_end > self.begins:
                self.missing.append(day)
            if self.is_unknown:
                return

    def _take(self, span: str, period: str, until: pd.Timestamp) -> bool:
        """Add a file of the archive, if it has it."""
        request = self.request
        name = f"{request.symbol}-{request.interval}-{period}.zip"
        url = f"{self.source.folder(request, span)}/{quote(name, safe='')}"
        body = self.source.web.verified(url, request.symbol)
        if body is None:
            return False
        self.parts.append((name, body))
        self.urls.append(url)
        self.filed_until = until
        return True

    def _look(self, since: pd.Timestamp) -> None:
        """Ask where the instrument's bars begin, so that no file before is asked for."""
        if self.is_unknown:
            return
        opens = self._page(since, 1, vision.FIRST_BAR)
        # A name that REST has forgotten may have files in later months.
        if not self.is_unknown:
            self.begins = opens[0].floor("D") if len(opens) else self.end.ceil("D")

    def _last_days(self) -> list[pd.Timestamp]:
        """Ask for the bars after the last file, page by page; give what is absent of them."""
        days = [day for day in self.missing if day >= self.filed_until]
        if not days:
            return []
        step, limit = _step(self.request.interval), MARKETS[self.source.market].limit
        since = max(days[0], self.since)
        while since < self.end and not self.is_unknown:
            opens = self._page(since, limit, ".json")
            if len(opens):
                since = opens[-1] + step
            if len(opens) < limit:
                break
        if self.is_unknown:
            return days
        is_late = since < self.end and self.source.clock() - self.end < SETTLING
        return [self.end - step] if is_late else []

    def _page(self, since: pd.Timestamp, limit: int, ending: str) -> pd.DatetimeIndex:
        """Keep a page of the REST API and give its opens; none when it knows no such name."""
        request, symbol = self.request, self.request.symbol
        url = self.source.page_url(request, since, self.end, limit)
        status, body = self.source.web.get(url, symbol)
        if status == 400 and _code(body) in UNKNOWN_SYMBOL:
            self.is_unknown = True
            return pd.DatetimeIndex([], tz="UTC")
        if status == 400:
            said = " ".join(body[:160].decode("utf-8", "replace").split())
            raise SourceFormatError(
                f"{symbol}: Binance takes the request for wrong: {said}. Check the symbol and "
                "TREMOR_BINANCE_API_URL.",
                symbol,
            )
        if status != 200 or body[:1] != b"[":
            raise SourceUnavailable(
                f"{symbol}: {url.partition('?')[0]} gave no candles (HTTP {status}). Check "
                "TREMOR_BINANCE_API_URL; the next run asks again.",
                symbol,
            )
        name = f"{symbol}-{request.interval}-{since:%Y-%m-%dT%H%M}{ending}"
        opens = pd.DatetimeIndex(vision.page(body, name, symbol)["open_time"], tz="UTC")
        if len(opens) and not (opens[0] >= since and opens.is_monotonic_increasing):
            raise SourceFormatError(
                f"{symbol}: {name}: not the bars after the instant asked for, oldest first. Check "
                "TREMOR_BINANCE_API_URL.",
                symbol,
            )
        self.parts.append((name, body))
        self.urls.append(url)
        return opens


def _step(interval: str) -> pd.Timedelta:
    if interval not in INTERVALS:
        raise SettingsError(
            f"Binance has no {interval} bars. Set TREMOR_INTERVAL to one of {', '.join(INTERVALS)}."
        )
    return length(interval)


def _starts(since: pd.Timestamp, until: pd.Timestamp, unit: str) -> Iterator[pd.Timestamp]:
    """Give the starts of the months (MS) or days (D) that [since, until) touches."""
    if since < until:
        first = since.floor("D") if unit == "D" else since.floor("D").replace(day=1)
        yield from pd.date_range(first, until, freq=unit, inclusive="left")


def _milli(ts: pd.Timestamp) -> int:
    return int(ts.value // 1_000_000)


def _code(body: bytes) -> int:
    try:
        return int(json.loads(body)["code"])
    except (ValueError, LookupError, TypeError):
        return 0


def _shown(ts: pd.Timestamp) -> str:
    return f"{ts:%Y-%m-%d}" if ts == ts.floor("D") else f"{ts:%Y-%m-%d %H:%M}"
