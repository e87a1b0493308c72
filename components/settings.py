"""The only reader of the environment and of ``.env``."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from components.errors import SettingsError

WATCH_LIST = ("BTC-USD", "ETH-USD", "SOL-USD", "SPY", "QQQ", "AAPL", "MSFT", "NVDA", "TSLA")

# The five whose votes were measured to be independent enough and to find most together. The
# isolation forest found nothing that they did not, at twice their cost.
ENSEMBLE = ("market", "pump", "knn", "kmeans", "gmm")

Names = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """Every setting, with what it means when it is unset. Secrets never print."""

    model_config = SettingsConfigDict(
        env_prefix="TREMOR_", env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True
    )

    source: str = Field("yahoo", description="Where candles come from: yahoo, files or sample.")
    symbols: Names = Field(
        (),
        description=(
            "Instruments, comma-separated. Unset: all that the source itself lists (files, "
            "sample), or a small watch list (yahoo)."
        ),
    )
    interval: str = Field("1d", pattern="^1d$", description="Length of a bar; days for now.")
    files_root: Path | None = Field(None, description="The folder that the files source reads.")
    history_years: float = Field(
        10, gt=0, le=100, description="How far back a new instrument is fetched."
    )
    grace_hours: float = Field(
        12, ge=0, le=240, description="A bar missing so long after its close is told as late."
    )
    calendars: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict,
        description="Calendars by instrument where the name misleads: `VOD=XLON,ACME=24/7`.",
    )

    detectors: Names = Field(ENSEMBLE, description="Who judges: names from the registry.")
    quorum: int = Field(
        2, ge=1, le=3, description="Independent votes that make an alert: 2 is MEDIUM, 3 HIGH."
    )
    alerts_per_year: float = Field(
        4, gt=0, description="Alerts accepted per instrument and year, true or false."
    )
    alerts_per_week: float = Field(
        2, gt=0, description="The same a week, for bars shorter than a day."
    )

    state_dir: Path = Field(Path("var"), description="Where everything embedded lives.")
    lake_url: str = Field("", description="A folder or `s3://bucket/prefix`. Unset: `var/lake`.")
    warehouse_url: SecretStr = Field(
        SecretStr(""),
        description="`postgresql://user:password@host/db`. Unset: an embedded server.",
    )

    smtp_url: SecretStr = Field(
        SecretStr(""),
        description=(
            "`smtp://user:password@host:587` (STARTTLS) or `smtps://`. Unset: `var/outbox`."
        ),
    )
    alert_from: str = Field("tremor@localhost", description="Sender of the e-mail.")
    alert_to: Names = Field(
        ("analyst@localhost",), description="Recipients of the e-mail, comma-separated."
    )
    webhook_url: SecretStr = Field(
        SecretStr(""), description="JSON POST with a Slack-compatible text. Unset: off."
    )
    all_clear: bool = Field(False, description="Send a message also when nothing was unusual.")
    heartbeat_url: SecretStr = Field(
        SecretStr(""), description="Asked by GET after each finished run. Unset: off."
    )

    yahoo_url: str = Field("", description="A gateway that stands for Yahoo's hosts. Unset: none.")
    yahoo_requests_per_second: float = Field(
        2, gt=0, le=1000, description="Polite rate towards Yahoo."
    )
    timeout_s: float = Field(30, gt=0, le=600, description="Patience with any other server, s.")
    attempts: int = Field(
        4, ge=1, le=20, description="Tries of a fetch or a delivery before it counts as failed."
    )

    @field_validator("symbols", "detectors", "alert_to", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))

    @field_validator("yahoo_url")
    @classmethod
    def _without_secrets(cls, value: str) -> str:
        if "@" in value:
            raise ValueError("a gateway's address holds no user or password: it is printed")
        return value

    @field_validator("calendars", mode="before")
    @classmethod
    def _paired(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        if any(not sign or not name.strip() for _, sign, name in pairs):
            raise ValueError("write it as SYMBOL=CALENDAR,SYMBOL=CALENDAR")
        return {symbol.strip(): name.strip() for symbol, _, name in pairs}

    @property
    def budget(self) -> float:
        """Alerts accepted per instrument and year at the interval."""
        is_short = not self.interval.endswith(("d", "wk", "mo"))
        return self.alerts_per_week * 365.25 / 7 if is_short else self.alerts_per_year

    @property
    def lake_root(self) -> str:
        """Where the lake lies, a folder or an ``s3://`` address."""
        return self.lake_url or str(self.state_dir / "lake")

    def shown(self) -> dict[str, str]:
        """All settings as text, secrets as stars: fit for a manifest and a report."""
        return {name: _text(getattr(self, name)) for name in type(self).model_fields}


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, dict):
        return ",".join(f"{k}={v}" for k, v in sorted(value.items()))
    return "" if value is None else str(value)


def read_settings(**overrides: Any) -> Settings:
    """Read the environment and ``.env``; keyword arguments win.

    Raises
    ------
    SettingsError
        With the name of the setting, what is wrong, and the remedy, in one line.
    """
    try:
        return Settings(**{k: v for k, v in overrides.items() if v is not None})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = "TREMOR_" + str(first["loc"][0]).upper() if first["loc"] else "the settings"
        message = " ".join(str(first["msg"]).split()).removeprefix("Value error, ")
        raise SettingsError(f"{name}: {message}. See .env.example.") from None
