"""The only reader of the environment and of ``.env``."""

import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from components.errors import SettingsError

# What is watched when nothing else is said, in each provider's own names.
WATCH_LISTS = {
    "binance": ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"),
    "polygon": ("SPY", "QQQ", "AAPL", "MSFT", "NVDA", "TSLA"),
    "yahoo": ("BTC-USD", "ETH-USD", "SOL-USD", "SPY", "QQQ", "AAPL", "MSFT", "NVDA", "TSLA"),
}

# The five whose votes were measured to be independent enough and to find most together. The
# isolation forest found nothing that they did not, at twice their cost.
ENSEMBLE = ("market", "pump", "knn", "kmeans", "gmm")

# Of minutes, a pump is odd only against the week before: the last hour has no trade to compare
# with; and a crash of an hour only against other hours. The views for these stand apart from the
# five and take a tenth and three tenths of the budget.
ENSEMBLE_OF_SHORT = (*ENSEMBLE, "surge", "swing")

# Names that stand for several in TREMOR_DETECTORS. Each candle by itself, and the last hour of
# minutes sliding by one: light enough for a stream, and weaker than the five.
SETS = {
    "dual": (
        "micro_return",
        "micro_log_return",
        "micro_range",
        "micro_body",
        "macro_volatility",
        "macro_range",
        "macro_volume",
    )
}

# What payment operators read; the files source joins them when it is told what its tables mean.
OF_MEASURES = ("athena", "sql")

# Alerts look back a month, and some margin.
LEAST_KEPT_DAYS = 60

HOST_AND_PORT = r"([A-Za-z0-9._-]{1,253}|\[[0-9a-fA-F:]{2,45}\]):[0-9]{1,5}"

Names = Annotated[tuple[str, ...], NoDecode]


def _is_of_measures(got: dict[str, Any]) -> bool:
    source = got.get("source")
    return source in OF_MEASURES or bool(source == "files" and got.get("measures_file"))


def _interval(got: dict[str, Any]) -> str:
    return "2h" if _is_of_measures(got) else "1d"


def _history(got: dict[str, Any]) -> float:
    if _is_of_measures(got):
        return 1.0
    return 0.08 if _is_short(got) else 10.0


def _is_short(got: dict[str, Any]) -> bool:
    return not str(got.get("interval", "1d")).endswith("d")


class Settings(BaseSettings):
    """Every setting, with what it means when it is unset. Secrets never print."""

    model_config = SettingsConfigDict(
        env_prefix="TREMOR_", env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True
    )

    source: str = Field(
        "yahoo",
        description="Where data comes from: athena, binance, files, polygon, sample, sql or yahoo.",
    )
    symbols: Names = Field(
        (),
        description=(
            "Instruments, comma-separated. Unset: all that the source itself lists (files, "
            "sample), or a small watch list (yahoo, binance, polygon)."
        ),
    )
    files_root: Path | None = Field(None, description="The folder that the files source reads.")
    measures_file: Path | None = Field(
        None, description="A TOML file that says what the tables of payments in `files` mean."
    )
    interval: str = Field(
        default_factory=_interval,
        pattern="^[1-9][0-9]{0,3}[mhd]$",
        description="Length of a bar: 1m, 5m, 1h, 1d. Unset: 1d, and 2h for payment volumes.",
    )
    history_years: float = Field(
        default_factory=_history,
        gt=0,
        le=100,
        description=(
            "How far back a new instrument is fetched. Unset: 10; 0.08 (a month) for bars shorter "
            "than a day, 1 for payment volumes."
        ),
    )
    grace_hours: float = Field(
        default_factory=lambda got: 1.0 if _is_short(got) else 12.0,
        ge=0,
        le=240,
        description=(
            "A bar missing so long after its close is told as late. Unset: 12, and 1 for bars "
            "shorter than a day."
        ),
    )
    calendars: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict,
        description="Calendars by instrument where the name misleads: `VOD=XLON,ACME=24/7`.",
    )

    detectors: Names = Field(
        default_factory=lambda got: ENSEMBLE_OF_SHORT if _is_short(got) else ENSEMBLE,
        description=(
            "Who judges: names from the registry, or `dual` for the micro and macro views. Unset: "
            "market,pump,knn,kmeans,gmm, and surge and swing beside them for bars shorter than a "
            "day."
        ),
    )
    model: str = Field(
        "champion",
        pattern="^([a-z][a-z_]{0,40}|[1-9][0-9]{0,8})$",
        description=(
            "The trained model that judges beside the detectors: an alias or a version of the "
            "registry. `none`: no trained model."
        ),
    )
    params_file: Path | None = Field(
        None,
        description=(
            "Where the features of the micro and macro views usually lie, as `train parameters` "
            "writes it. Unset: `var/params.json`."
        ),
    )
    mlflow_url: str = Field(
        "", description="An MLflow server that keeps models. Unset: a database under `var/mlflow`."
    )
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

    warehouse_password: SecretStr = Field(
        SecretStr(""),
        description=(
            "The warehouse's password where its URL holds none, so that a secret store gives the "
            "password alone."
        ),
    )

    redis_url: SecretStr = Field(
        SecretStr(""),
        description=(
            "`redis://:password@host:6379/0` for the newest features, a stream's live state and "
            "the API's answers. Unset: SQLite in `var/feast`; answers are held in process."
        ),
    )
    feast_url: str = Field(
        "",
        description=(
            "Feast's feature server, from which `models score` takes features. Unset: the "
            "warehouse."
        ),
    )

    spark_master: str = Field(
        "local[*]",
        pattern="^(local|spark://|yarn|k8s://)",
        description="The Spark that `--engine spark` spreads its work over. Unset: this machine.",
    )
    kafka_servers: str = Field(
        "", description="The brokers of the stream, `host:port,host:port`. Unset: one process."
    )
    kafka_user: str = Field(
        "", description="Who the stream is to the brokers, over TLS. Unset: no TLS, nobody."
    )
    kafka_password: SecretStr = Field(SecretStr(""), description="That user's password.")
    kafka_mechanism: str = Field(
        "PLAIN",
        pattern="^(PLAIN|SCRAM-SHA-256|SCRAM-SHA-512)$",
        description="How he proves it: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.",
    )
    kafka_prefix: str = Field(
        "tremor",
        pattern="^[a-z0-9][a-z0-9_-]{0,99}$",
        description="What the names of the topics begin with: `tremor.candles`.",
    )
    kafka_partitions: int = Field(
        4, ge=1, le=1000, description="Partitions of a topic that the stream makes."
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

    stream_lateness_s: float = Field(
        120,
        ge=0,
        le=86_400,
        description="How much later than newer candles a candle may come to a stream, s.",
    )
    metrics_port: int = Field(
        0, ge=0, le=65_535, description="Where Prometheus asks a stream. 0: nowhere."
    )
    metrics_address: str = Field(
        "127.0.0.1", description="The address of that port: 0.0.0.0 in a container."
    )

    api_address: str = Field(
        "127.0.0.1", description="Where `serve` listens; beyond loopback keys are always asked for."
    )
    api_port: int = Field(8000, ge=0, le=65_535, description="The port of `serve`.")
    api_open: bool = Field(
        False, description="On loopback, answer without keys: all may be read, scored and written."
    )
    api_origins: Names = Field(
        (), description="Web pages that may call the API, `https://desk.example.com`. Unset: none."
    )
    api_requests_per_minute: float = Field(
        6000, gt=0, le=10_000_000, description="Requests that each API key may make in a minute."
    )
    api_max_mb: float = Field(
        32, gt=0, le=2048, description="The largest body that the API reads, MB."
    )
    api_max_rows: int = Field(
        100_000, ge=1, le=10_000_000, description="The most candles of one request to the API."
    )
    api_timeout_s: float = Field(
        30, gt=0, le=600, description="So long the API waits for a body, and works on a request, s."
    )
    dashboard_address: str = Field(
        "127.0.0.1", description="Where `dashboard` listens; beyond loopback it needs a login."
    )
    dashboard_port: int = Field(8501, ge=0, le=65_535, description="The port of `dashboard`.")
    dashboard_role: str = Field(
        "read",
        pattern="^(read|write)$",
        description="What who looks at the dashboard without a login may do: read, or write too.",
    )
    dashboard_password_hash: SecretStr = Field(
        SecretStr(""),
        description=(
            "A login by password: the line that `keys password` prints. It gives the write role."
        ),
    )
    dashboard_oidc: Path | None = Field(
        None,
        description=(
            "A login by OpenID Connect: Streamlit's secrets.toml with its [auth]. Unset: none."
        ),
    )
    dashboard_readers: Names = Field(
        (), description="E-mail addresses that may look, by that login; `*` for all it lets in."
    )
    dashboard_writers: Names = Field(
        (), description="E-mail addresses that may write too, by that login."
    )
    reader_url: SecretStr = Field(
        SecretStr(""),
        description=(
            "`postgresql://reader:password@host/db`, a role that may only read: for the SQL page. "
            "Unset: on the embedded server a role of its own, elsewhere no SQL page."
        ),
    )

    second_source: str = Field(
        "", description="Another source to compare the first with: files, binance, ... Unset: none."
    )
    second_names: Annotated[dict[str, str], NoDecode] = Field(
        {}, description="What the second calls an instrument: `BTC-USD=BTCUSDT`. Unset: the same."
    )
    tolerance: float = Field(
        0.01,
        gt=0,
        lt=1,
        description="Closes of two sources that differ by more, a fraction, are data trouble.",
    )
    keep_scores_days: int = Field(
        0,
        ge=0,
        le=36_500,
        description=(
            "Scores of single views, for bars older than so many days, leave the warehouse; "
            "verdicts, channels and alerts stay. 0: never."
        ),
    )
    keep_quarantine_days: int = Field(
        0,
        ge=0,
        le=36_500,
        description="Rows kept aside so many days ago leave the warehouse. 0: never.",
    )
    keep_minutes_days: int = Field(
        0,
        ge=0,
        le=36_500,
        description=(
            "Bars shorter than a day, and their features, leave the warehouse so many days after "
            "they opened; the lake keeps them. 0: never."
        ),
    )

    binance_market: str = Field(
        "spot", pattern="^(spot|um)$", description="Binance's spot market, or USD-M futures (um)."
    )
    binance_archive_url: str = Field(
        "", description="A mirror of Binance's public archive. Unset: the archive itself."
    )
    binance_api_url: str = Field(
        "", description="A gateway that stands for Binance's REST API. Unset: none."
    )
    binance_stream_url: str = Field(
        "", description="A gateway that stands for Binance's WebSocket streams. Unset: none."
    )
    polygon_api_key: SecretStr = Field(
        SecretStr(""), description="The key of Massive's (Polygon's) REST API."
    )
    polygon_url: str = Field(
        "", description="A gateway that stands for Massive's REST API. Unset: none."
    )
    polygon_stream_url: str = Field(
        "", description="A gateway that stands for Massive's WebSocket stream. Unset: none."
    )
    polygon_requests_per_minute: float = Field(
        5, gt=0, le=100_000, description="Requests that the plan allows; the free one has 5."
    )
    polygon_flat_key: SecretStr = Field(
        SecretStr(""), description="Access key of Massive's flat files. Unset: REST alone."
    )
    polygon_flat_secret: SecretStr = Field(
        SecretStr(""), description="The secret that goes with it."
    )
    polygon_flat_url: str = Field(
        "", description="An S3 endpoint that stands for Massive's flat files. Unset: none."
    )

    time_zone: str = Field(
        "UTC", description="Where the operator's days begin: payment bins are labelled in it."
    )
    measures_query: str = Field(
        "",
        description=(
            "The SQL that athena and sql run, with :since and :until: a file, or "
            "`s3://bucket/key.sql`."
        ),
    )
    measures_times: str = Field(
        "", description="Time zone of times without an offset. Unset: TREMOR_TIME_ZONE."
    )
    measures_empty: str = Field(
        "zero", pattern="^(zero|missing)$", description="What a bin without payments is."
    )
    measures_settle_days: float = Field(
        3, ge=0, le=60, description="So long after its end a month is asked for again."
    )
    forecaster: str = Field(
        "champion",
        pattern="^[a-z][a-z_]{0,40}$",
        description=(
            "Who makes the bands of payment volumes: a name from the registry. `champion`: the "
            "one that `train forecasters` found best, slot_ewma before."
        ),
    )
    coverage: float = Field(
        0.99,
        ge=0.5,
        le=0.9999,
        description="Share of open bins that a band holds; 0.99 of 2h bins: 0.84 alarms a week.",
    )
    holidays: Names = Field(
        (),
        description=(
            "Days on which nobody pays: dates, and exchange calendars, `2024-12-25,XLON`. Unset: "
            "none."
        ),
    )
    payment_unit: str = Field(
        "", max_length=12, description="What payments are counted in, `GBP`; shown beside numbers."
    )
    athena_database: str = Field("default", description="Athena's database.")
    athena_workgroup: str = Field("primary", description="Athena's workgroup.")
    athena_output: str = Field(
        "", description="`s3://bucket/prefix` of results. Unset: the workgroup's own."
    )
    sql_url: SecretStr = Field(
        SecretStr(""),
        description="`postgresql://`, `mysql://` or `mariadb://user:password@host/db` to read.",
    )

    yahoo_url: str = Field("", description="A gateway that stands for Yahoo's hosts. Unset: none.")
    yahoo_requests_per_second: float = Field(
        2, gt=0, le=1000, description="Polite rate towards Yahoo."
    )
    timeout_s: float = Field(30, gt=0, le=600, description="Patience with any other server, s.")
    attempts: int = Field(
        4, ge=1, le=20, description="Tries of a fetch or a delivery before it counts as failed."
    )

    @field_validator(
        "symbols",
        "detectors",
        "alert_to",
        "holidays",
        "api_origins",
        "dashboard_readers",
        "dashboard_writers",
        mode="before",
    )
    @classmethod
    def _listed(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))

    @field_validator("kafka_servers")
    @classmethod
    def _hosts_and_ports(cls, value: str) -> str:
        hosts = [part.strip() for part in value.split(",") if part.strip()]
        if any("@" in host for host in hosts):
            raise ValueError("it holds no user: it is printed. Set TREMOR_KAFKA_USER")
        if not all(re.fullmatch(HOST_AND_PORT, host) for host in hosts):
            raise ValueError("write it as host:port,host:port")
        return ",".join(hosts)

    @field_validator("detectors")
    @classmethod
    def _each_by_name(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        every = (name for said in value for name in SETS.get(said, (said,)))
        return tuple(dict.fromkeys(every))

    @field_validator("heartbeat_url")
    @classmethod
    def _web_address(cls, value: SecretStr) -> SecretStr:
        url = value.get_secret_value()
        if url and not re.match(r"https?://[^/?#\s]", url):
            raise ValueError("write it as https://host/path")
        return value

    @field_validator(
        "lake_url",
        "yahoo_url",
        "binance_archive_url",
        "binance_api_url",
        "binance_stream_url",
        "polygon_url",
        "polygon_stream_url",
        "polygon_flat_url",
        "mlflow_url",
        "feast_url",
    )
    @classmethod
    def _without_secrets(cls, value: str) -> str:
        if "@" in value:
            raise ValueError("this address holds no user or password: it is printed")
        return value

    @field_validator("mlflow_url")
    @classmethod
    def _server(cls, value: str) -> str:
        if value and not re.match(r"https?://[^/?#\s]", value):
            raise ValueError("write it as https://host")
        return value

    @field_validator("keep_scores_days", "keep_quarantine_days")
    @classmethod
    def _beyond_what_is_told(cls, value: int) -> int:
        if 0 < value < LEAST_KEPT_DAYS:
            raise ValueError(f"keep {LEAST_KEPT_DAYS} days or more: runs look back so far")
        return value

    @field_validator("measures_query", mode="before")
    @classmethod
    def _placed(cls, value: Any) -> Any:
        return str(value) if isinstance(value, Path) else value

    @field_validator("calendars", "second_names", mode="before")
    @classmethod
    def _paired(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        if any(not sign or not name.strip() for _, sign, name in pairs):
            raise ValueError("write it as SYMBOL=VALUE,SYMBOL=VALUE")
        return {symbol.strip(): name.strip() for symbol, _, name in pairs}

    @property
    def budget(self) -> float:
        """Alerts accepted per instrument and year at the interval."""
        is_short = _is_short({"interval": self.interval})
        return self.alerts_per_week * 365.25 / 7 if is_short else self.alerts_per_year

    @property
    def warehouse(self) -> str:
        """The warehouse's URL with its password, "" for the embedded one.

        Raises
        ------
        SettingsError
            A password beside a URL that holds one, or names no user.
        """
        url = self.warehouse_url.get_secret_value()
        password = self.warehouse_password.get_secret_value()
        if not (url and password):
            return url
        scheme, _, rest = url.partition("://")
        place, rest = re.fullmatch(r"([^/?]*)(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr]
        user, at, host = place.rpartition("@")
        if not at or ":" in user:
            raise SettingsError(
                "TREMOR_WAREHOUSE_PASSWORD needs a TREMOR_WAREHOUSE_URL with a user and without a "
                "password. Write postgresql://user@host:5432/database"
            )
        return f"{scheme}://{user}:{quote(password, safe='')}@{host}{rest}"

    @property
    def lake_root(self) -> str:
        """Where the lake lies, a folder or an ``s3://`` address."""
        return self.lake_url or str(self.state_dir / "lake")

    @property
    def params_path(self) -> Path:
        """Where the parameters of the micro and macro views lie."""
        return self.params_file or self.state_dir / "params.json"

    def fields(self) -> dict[str, Any]:
        """All settings by name, secrets wrapped."""
        return {name: getattr(self, name) for name in type(self).model_fields}

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
    except UnicodeDecodeError:
        raise SettingsError(".env is no UTF-8 text. Save it as UTF-8.") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = "TREMOR_" + str(first["loc"][0]).upper() if first["loc"] else "the settings"
        message = " ".join(str(first["msg"]).split()).removeprefix("Value error, ")
        raise SettingsError(f"{name}: {message}. See .env.example.") from None
