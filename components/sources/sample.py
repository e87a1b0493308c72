"""History that comes with installed packages, to try the product without a network.

Daily bars of the S&P 500 and the Nasdaq Composite (package arch, 1999 to 2018) and of a few
stocks (package bokeh_sampledata, 2000 to 2013). The stocks' prices are as traded.
"""

import gzip
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Final

import pandas as pd

from components.errors import SettingsError, SymbolNotFound
from components.records import CandleRequest, Parsed, RawReply
from components.sources.bars import actions_frame
from components.sources.base import Traits, check_symbol
from components.sources.sheets import parse_sheet

STOCKS = ("bokeh_sampledata", "_data/stocks.csv.gz")

# Package and file by instrument.
HISTORIES: Final = MappingProxyType(
    {
        "^GSPC": ("arch", "data/sp500/sp500.csv.gz"),
        "^IXIC": ("arch", "data/nasdaq/nasdaq.csv.gz"),
        "AAPL": STOCKS,
        "GOOG": STOCKS,
        "IBM": STOCKS,
        "MSFT": STOCKS,
    }
)

# The only jumps by a whole ratio in these prices: two new shares for an old one.
SPLITS: Final = MappingProxyType(
    {"AAPL": {"2000-06-21": 2.0, "2005-02-28": 2.0}, "MSFT": {"2003-02-18": 2.0}}
)


def opened(**_: object) -> "Sample":
    """Open the sample; no setting concerns it."""
    return Sample()


@dataclass(frozen=True)
class Sample:
    """The sample history; all of it counts as observed at the request's ``as_of``."""

    name: str = "sample"
    traits: ClassVar[Traits] = Traits()

    def pieces(self, request: CandleRequest) -> tuple[CandleRequest, ...]:
        """An instrument's history is one reply."""
        return (request,)

    def symbols(self) -> tuple[str, ...]:
        """List the instruments of the sample."""
        return tuple(sorted(HISTORIES))

    def fetch(self, request: CandleRequest) -> RawReply:
        """Read the instrument's rows out of the package's file, as CSV text."""
        symbol = check_symbol(request.symbol)
        if symbol not in HISTORIES:
            raise SymbolNotFound(
                f"{symbol}: not in the sample, which has {', '.join(self.symbols())}", symbol
            )
        package, file = HISTORIES[symbol]
        body = gzip.decompress(_path(package, file).read_bytes())
        if package == STOCKS[0]:
            body = _of_ticker(body, symbol)
        url = f"package:{package}/{file}"
        return RawReply(self.name, request, url, 200, request.as_of, body, {"kind": "file"})

    def parse(self, reply: RawReply) -> Parsed:
        """Turn the text into rows; the splits of the sample are known beside it."""
        request = reply.request
        parsed = parse_sheet(reply.body, reply.url, request.symbol, request.interval)
        splits = pd.Series(SPLITS.get(request.symbol, {}), dtype=float)
        splits.index = pd.to_datetime(splits.index, utc=True)
        return Parsed(parsed.candles, actions_frame(splits=splits))


def _path(package: str, file: str) -> Path:
    # Found without importing the package, which would import its plotting or estimation.
    spec = find_spec(package)
    path = None if spec is None or spec.origin is None else Path(spec.origin).parent / file
    if path is None or not path.is_file():
        raise SettingsError(
            f"the sample history needs the package {package}. Run `make demo`, or install the "
            "extra `demo`: pip install '.[demo]'."
        )
    return path


def _of_ticker(body: bytes, symbol: str) -> bytes:
    header, *lines = body.splitlines(keepends=True)
    prefix = symbol.encode() + b","
    # The first column, the ticker, is cut off with its comma.
    rows = [line[len(prefix) :] for line in lines if line.startswith(prefix)]
    return header.partition(b",")[2] + b"".join(rows)
