"""Which of Binance's files and pages answer a request, asked for one after the other."""

import json
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

import pandas as pd

from components.errors import SourceFormatError, SourceUnavailable, SymbolNotFound
from components.records import CandleRequest, RawReply
from components.sessions import length
from components.sources import vision
from components.sources.binance_web import Places, Web

SOURCE = "binance"

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


class Search:
    """One request on its way: the parts found so far, and what is known of the instrument.

    Parameters
    ----------
    places : Places
        Where the market's files and pages are.
    web : Web
        The way there.
    request : CandleRequest
        One piece.
    now : Timestamp
        The present; a bar that closed just before it may not be shown yet.
    """

    def __init__(self, places: Places, web: Web, request: CandleRequest, now: pd.Timestamp) -> None:
        self.places, self.web, self.request, self.now = places, web, request, now
        step = length(request.interval)
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
        """Ask for all that the request needs; see ``Binance.fetch``."""
        for month in _starts(self.since, self.end, "MS"):
            self._month(month)
        absent = [day for day in self.missing if day < self.filed_until]
        absent += self._last_days()
        if self.is_unknown and not any(name.endswith(".zip") for name, _ in self.parts):
            raise SymbolNotFound(
                f"{self.request.symbol}: Binance's {self.places.market} market knows no such "
                "instrument, and its archive has no file for these bars. Correct or drop it, or "
                "set TREMOR_BINANCE_MARKET.",
                self.request.symbol,
            )
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
            SOURCE,
            self.request,
            self.urls[0] if self.urls else self.places.folder(self.request, "monthly"),
            206 if absent else 200,
            min(self.now, self.request.as_of),
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
        url = f"{self.places.folder(request, span)}/{quote(name, safe='')}"
        body = self.web.verified(url, request.symbol)
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
        step, limit = length(self.request.interval), self.places.limit
        since = max(days[0], self.since)
        while since < self.end and not self.is_unknown:
            opens = self._page(since, limit, ".json")
            if len(opens):
                since = opens[-1] + step
            if len(opens) < limit:
                break
        if self.is_unknown:
            return days
        is_late = since < self.end and self.now - self.end < SETTLING
        return [self.end - step] if is_late else []

    def _page(self, since: pd.Timestamp, limit: int, ending: str) -> pd.DatetimeIndex:
        """Keep a page of the REST API and give its opens; none when it knows no such name."""
        request, symbol = self.request, self.request.symbol
        url = self.places.page_url(request, since, self.end, limit)
        status, body = self.web.get(url, symbol)
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


def _starts(since: pd.Timestamp, until: pd.Timestamp, unit: str) -> Iterator[pd.Timestamp]:
    """Give the starts of the months (MS) or days (D) that [since, until) touches."""
    if since < until:
        first = since.floor("D") if unit == "D" else since.floor("D").replace(day=1)
        yield from pd.date_range(first, until, freq=unit, inclusive="left")


def _code(body: bytes) -> int:
    try:
        return int(json.loads(body)["code"])
    except (ValueError, LookupError, TypeError):
        return 0


def _shown(ts: pd.Timestamp) -> str:
    return f"{ts:%Y-%m-%d}" if ts == ts.floor("D") else f"{ts:%Y-%m-%d %H:%M}"
