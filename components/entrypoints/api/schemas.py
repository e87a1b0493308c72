"""What the API is told and tells, as its OpenAPI document shows it."""

import datetime as dt
from typing import Annotated, Any, Literal, NotRequired

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, Strict, with_config
from typing_extensions import TypedDict

from components.entrypoints.views import FINDINGS

SYMBOL = r"^[A-Za-z0-9^][A-Za-z0-9.=^_&-]{0,31}$"

# As the document shows them: no name has two dots in a row, no bar is of another century.
SHOWN_SYMBOL: dict[str, JsonValue] = {"pattern": SYMBOL.replace("^", r"^(?!.*\.\.)", 1)}
SHOWN_INSTANT: dict[str, JsonValue] = {"pattern": r"^(19[789]|20[0-9]|21[0-9])[0-9]-"}

Symbol = Annotated[str, Field(pattern=SYMBOL, examples=["BTC-USD"], json_schema_extra=SHOWN_SYMBOL)]
Price = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Amount = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Instant = Annotated[AwareDatetime, Strict()] | Annotated[dt.date, Strict()]
Opened = Annotated[
    Instant,
    Field(
        description="The bar's open: an instant with its offset, or of days the session's date.",
        examples=["2024-03-12"],
        json_schema_extra=SHOWN_INSTANT,
    ),
]

EXAMPLE: dict[str, JsonValue] = {
    "symbol": "BTC-USD",
    "ts": "2024-03-12",
    "open": 72_000.0,
    "high": 73_000.0,
    "low": 68_500.0,
    "close": 71_400.0,
    "volume": 62_500_000_000.0,
}


@with_config(ConfigDict(extra="forbid"))
class CandleIn(TypedDict):
    """One closed candle; prices in the quote currency, volume in base units."""

    symbol: Symbol
    ts: Opened
    open: Price
    high: Price
    low: Price
    close: Price
    volume: NotRequired[Amount | None]
    vwap: NotRequired[Price | None]
    trades: NotRequired[Amount | None]


class Candles(BaseModel):
    """Candles to judge, of one or many instruments, each bar once."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"candles": [dict(EXAMPLE)]}]}
    )

    candles: Annotated[list[CandleIn], Field(min_length=1)]


class ViewOut(BaseModel):
    """How one view stood to the bar: its score, the p-value of it, and whether it voted."""

    name: str
    score: float | None
    p: float | None
    n_reference: int
    voted: bool


class VerdictOut(BaseModel):
    """What was found of a bar; fractions are fractions, p-values in [0, 1], unknown is null."""

    symbol: str
    ts: dt.datetime
    judge: str
    verdict: Literal["anomaly", "normal", "undecided"]
    level: int
    level_word: str
    state: Literal["live", "warm-up", "stale"]
    votes: int
    voters: int
    vote_p: float | None
    p: float | None
    rate: float | None
    bars_lacking: int
    body: float | None
    return_: Annotated[float | None, Field(alias="return")]
    scale: float | None
    market_part: float | None
    residual_p: float | None
    parameters: str
    views: list[ViewOut]
    channels: dict[str, float | None]
    finding: dict[str, Any] | None


class AsideOut(BaseModel):
    """A bar that was not judged, and the check that it failed."""

    symbol: str
    ts: dt.datetime
    check: str


class ScoreOut(BaseModel):
    """Verdicts in the order of instruments and bars, and the bars that were not judged.

    ``version`` names what judged: it changes with every run, model and parameter file.
    """

    version: str
    judge: str
    model: str | None
    verdicts: list[VerdictOut]
    aside: list[AsideOut]


class Acknowledged(BaseModel):
    """Keep quiet about the alert's instruments until each has had a normal bar again."""

    model_config = ConfigDict(extra="forbid", strict=True)

    note: Annotated[str, Field(max_length=500)] = ""
    symbol: Symbol | None = None


class Snoozed(Acknowledged):
    """Keep quiet about the alert's instruments until an instant."""

    until: Annotated[Instant, Field(examples=["2030-04-01"], json_schema_extra=SHOWN_INSTANT)]


class Labelled(Acknowledged):
    """What a person found the alert to be."""

    label: Annotated[Literal[FINDINGS], Field(examples=["confirmed"])]  # type: ignore[valid-type]


class Kept(BaseModel):
    """What was kept of what somebody said, and of which instruments."""

    alert_id: str
    action: str
    symbols: list[str]


class ProblemOut(BaseModel):
    """An error: what is wrong, in which field, and the request's id (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[dict[str, str]] | None = None


class Page(BaseModel):
    """A page of rows; ``next`` is the cursor of the page behind it, null on the last."""

    items: list[dict[str, Any]]
    next: str | None
