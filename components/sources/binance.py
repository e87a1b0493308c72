"""Binance: whole months and days from its public archive, the last days from its REST API."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar, Final

import pandas as pd

from components.errors import SettingsError
from components.records import CandleRequest, Parsed, RawReply
from components.sessions import ALWAYS_OPEN, length
from components.sources import vision
from components.sources.base import Traits, check_symbol
from components.sources.binance_search import Search
from components.sources.binance_web import Places, Web

INTERVALS: Final = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d")

# A piece is a month, one file of the archive, so that many are under way at once; of days it is
# a year.
DAY, MONTHS_OF_DAYS = pd.Timedelta(days=1), 12


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
    places = Places(binance_market, binance_archive_url, binance_api_url)
    return Binance(places, Web(timeout_s))


@dataclass(frozen=True)
class Binance:
    """Binance's public archive, and its REST API for what the archive has not yet.

    A reply costs two questions for each month (the file and its checksum). A month of the past
    without a file costs one more, which tells whether the instrument was listed by then, and
    if it was, two for each of its days; so do the days of the running month. The days that the
    archive has not yet cost one for each 1000 bars (1500 on ``um``).

    Parameters
    ----------
    places : Places, optional
        Which market, and where its files and pages are.
    web : Web, optional
        The way there.
    clock : callable, optional
        Gives the present.
    """

    places: Places = field(default_factory=Places)
    web: Web = field(default_factory=Web)
    clock: Callable[[], pd.Timestamp] = _now
    name: str = "binance"
    traits: ClassVar[Traits] = Traits(at_once=8, absent="venue down", calendar=ALWAYS_OPEN)

    def symbols(self) -> tuple[str, ...]:
        """Binance has thousands; which of them are wanted it cannot tell."""
        return ()

    def pieces(self, request: CandleRequest) -> tuple[CandleRequest, ...]:
        """Cut at the ends of months, of daily bars at the ends of years.

        The cuts do not hang on where the request begins, so a repeated backfill makes the same
        inner pieces.
        """
        n_months = 1 if _step(request.interval) < DAY else MONTHS_OF_DAYS
        since, cut = request.since, []
        while since < request.until:
            month = (since.year * 12 + since.month - 1) // n_months * n_months + n_months
            end = pd.Timestamp(year=month // 12, month=month % 12 + 1, day=1, tz="UTC")
            cut.append(replace(request, since=since, until=min(end, request.until)))
            since = end
        return tuple(cut)

    def fetch(self, request: CandleRequest) -> RawReply:
        """Ask for files, verified by their checksums, and for the last days page by page.

        Bars that have not closed at ``as_of`` are not asked for. The reply is one zip as it
        came, or a tar of zips and pages. Its status is 206 when a day has no file though a
        later one has, and when the last bar closed so lately that REST does not show it yet.
        """
        check_symbol(request.symbol)
        _step(request.interval)
        return Search(self.places, self.web, request, self.clock()).reply()

    def parse(self, reply: RawReply) -> Parsed:
        """Turn the files into rows, all of them: a month's file has the whole month."""
        return vision.parse_reply(reply)


def _step(interval: str) -> pd.Timedelta:
    if interval not in INTERVALS:
        raise SettingsError(
            f"Binance has no {interval} bars. Set TREMOR_INTERVAL to one of {', '.join(INTERVALS)}."
        )
    return length(interval)
