"""Columns, types and keys of everything that is stored; and the as-of rule.

A column's kind is one of ``text``, ``timestamp`` (UTC), ``float``, ``int``, ``json``.
In a *versioned* table the key ends in ``known_at``: a change is a new row, and a row that
equals the version in force at its ``known_at`` is not new.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pandas as pd


@dataclass(frozen=True)
class Table:
    """A stored table: its columns' kinds, its key, and whether changes are kept as versions."""

    name: str
    columns: Mapping[str, str]
    key: tuple[str, ...]
    versioned: bool = False

    @property
    def bar_key(self) -> tuple[str, ...]:
        """The key without ``known_at``: what the versions have in common."""
        return tuple(name for name in self.key if name != "known_at")

    @property
    def values(self) -> tuple[str, ...]:
        """The columns outside the key."""
        return tuple(name for name in self.columns if name not in self.key)


_BIN = {"data_set": "text", "series": "text", "interval": "text", "ts": "timestamp"}
_BAR = {"symbol": "text", "interval": "text", "ts": "timestamp"}

# hours is "extended" for a bar before or after the exchange's session, "regular" for one
# inside it, and NULL where nothing is to be told apart (days, markets that never close).
CANDLES = Table(
    "candles",
    {
        **_BAR,
        "open": "float",
        "high": "float",
        "low": "float",
        "close": "float",
        "volume": "float",
        "vwap": "float",
        "trades": "float",
        "hours": "text",
        "source": "text",
        "known_at": "timestamp",
    },
    ("symbol", "interval", "ts", "known_at"),
    versioned=True,
)

# Where the warehouse keeps the candles that are shorter than a day; callers name CANDLES.
INTRADAY = replace(CANDLES, name="candles_intraday")

_MADE_OF_BARS = {
    **_BAR,
    "open": "float",
    "high": "float",
    "low": "float",
    "close": "float",
    "volume": "float",
    "n_bars": "int",
    "first_ts": "timestamp",
    "last_ts": "timestamp",
    "known_at": "timestamp",
}

# The latest versions of an instrument's shorter bars by UTC hour and day; ``interval`` is that
# of the bars, ``ts`` the start of the hour or day, ``known_at`` that of the newest version.
HOURLY = Table("candles_hourly", _MADE_OF_BARS, ("symbol", "interval", "ts"))
DAILY = Table("candles_daily", _MADE_OF_BARS, ("symbol", "interval", "ts"))

# One value of a business series: what was summed over the bin that starts at ``ts``.
MEASURES = Table(
    "measures",
    {
        **_BIN,
        "value": "float",
        "source": "text",
        "known_at": "timestamp",
    },
    ("data_set", "series", "interval", "ts", "known_at"),
    versioned=True,
)

# The band of a bin that closed, and where its value lay. ``expected`` is the band's middle, NaN
# where no band is told; p the share of earlier bins missed by as much. level is 0 inside, 1 LOW
# (within 5 times the stated rate), 2 MEDIUM (outside of the band), 3 HIGH (ten times rarer).
# standing is one of ``opening.STATES``.
BANDS = Table(
    "bands",
    {
        **_BIN,
        "ends_at": "timestamp",
        "forecaster": "text",
        "actual": "float",
        "expected": "float",
        "lower": "float",
        "upper": "float",
        "p": "float",
        "level": "int",
        "standing": "text",
        "known_at": "timestamp",
    },
    ("data_set", "series", "interval", "ts", "known_at"),
    versioned=True,
)

# The bands of the bins that come, the one under way first: ``so_far`` is what it holds already,
# ``nowcast`` what that points to at its end.
FORECASTS = Table(
    "forecasts",
    {
        **_BIN,
        "ends_at": "timestamp",
        "forecaster": "text",
        "expected": "float",
        "lower": "float",
        "upper": "float",
        "standing": "text",
        "so_far": "float",
        "nowcast": "float",
        "known_at": "timestamp",
    },
    ("data_set", "series", "interval", "ts"),
)

# How many of the series that were likely to have payments in a bin had none, and how unlikely
# that is if they were independent; ``until`` is the bin's end, or how far it had come.
SILENT = Table(
    "silent",
    {
        "data_set": "text",
        "interval": "text",
        "ts": "timestamp",
        "until": "timestamp",
        "n_likely": "int",
        "n_silent": "int",
        "p": "float",
        "known_at": "timestamp",
    },
    ("data_set", "interval", "ts", "known_at"),
    versioned=True,
)

# How the forecasters did on rolling origins of a data set, each against the same bins:
# ``winkler`` is the mean interval score in units of the seasonal naive's; covered is a share of
# open bins. model names the lake's object of a fitted one; is_champion is 1 for the one that
# judges from then on.
TRIALS = Table(
    "forecast_trials",
    {
        "data_set": "text",
        "interval": "text",
        "forecaster": "text",
        "coverage": "float",
        "n_series": "int",
        "n_bins": "int",
        "winkler": "float",
        "covered": "float",
        "alarms_a_week": "float",
        "seconds": "float",
        "model": "text",
        "is_champion": "int",
        "known_at": "timestamp",
    },
    ("data_set", "interval", "forecaster", "known_at"),
)

# kind is "split" (new shares per old share) or "dividend" (money per share, as traded then).
ACTIONS = Table(
    "actions",
    {
        "symbol": "text",
        "kind": "text",
        "ts": "timestamp",
        "value": "float",
        "source": "text",
        "known_at": "timestamp",
    },
    ("symbol", "kind", "ts", "known_at"),
    versioned=True,
)

# One row a refused row and check: ``raw`` is the SHA-256 of the reply, ``line`` the row in it.
QUARANTINE = Table(
    "quarantine",
    {
        "raw": "text",
        "line": "int",
        "check_name": "text",
        "symbol": "text",
        "interval": "text",
        "ts": "timestamp",
        "row_text": "json",
        "source": "text",
        "known_at": "timestamp",
    },
    ("raw", "symbol", "line", "check_name"),
)

RAW_OBJECTS = Table(
    "raw_objects",
    {
        "key": "text",
        "source": "text",
        "symbol": "text",
        "interval": "text",
        "since": "timestamp",
        "until": "timestamp",
        "url": "text",
        "status": "int",
        "known_at": "timestamp",
        "sha256": "text",
        "n_bytes": "int",
    },
    ("key", "symbol"),
)

SCORES = Table(
    "scores",
    {
        **_BAR,
        "detector": "text",
        "score": "float",
        "p": "float",
        "n_reference": "int",
        "known_at": "timestamp",
    },
    ("symbol", "interval", "ts", "detector", "known_at"),
    versioned=True,
)

# level counts independent votes at the budget: 0 none, 1 LOW, 2 MEDIUM, 3 HIGH; an anomaly is
# told and has level 2 or more, and a view has voted for it when its p is at most vote_p. state is
# "live", "warm-up" or "stale". rate is the share of bars that may alert; bars_lacking is what an
# undecided one waits for. body and return are fractions; scale is the volatility known before
# the bar, per bar; market_part is the share of the return that the market explains, a fraction;
# residual_p is the p-value of the rest; parameters names the version of params.json that placed
# the micro and macro views, "" where none did.
VERDICTS = Table(
    "verdicts",
    {
        **_BAR,
        "judge": "text",
        "verdict": "text",
        "votes": "int",
        "voters": "int",
        "vote_p": "float",
        "level": "int",
        "state": "text",
        "p": "float",
        "rate": "float",
        "bars_lacking": "int",
        "body": "float",
        "return": "float",
        "scale": "float",
        "market_part": "float",
        "residual_p": "float",
        "parameters": "text",
        "known_at": "timestamp",
    },
    ("symbol", "interval", "ts", "judge", "known_at"),
    versioned=True,
)

# How far a bar lay from what was usual, a column a channel, in the units of features/channels.py.
CHANNELS = Table(
    "channels",
    {
        **_BAR,
        "return_z": "float",
        "gap_z": "float",
        "body_z": "float",
        "residual_z": "float",
        "range_z": "float",
        "volume_z": "float",
        "known_at": "timestamp",
    },
    ("symbol", "interval", "ts", "known_at"),
    versioned=True,
)

# The features of a bar, a column a feature of the registry; ``version`` names the arithmetic,
# closes_at is when the bar closed, and known_at when the last of what they are made from became
# known. A new feature is added to the stored table when it is next opened; rows that are older
# hold NULL in it.
_FEATURES = (
    "body",
    "return",
    "log_return",
    "gap",
    "volatility",
    "price_range",
    "low_range",
    "bar_range",
    "price_amplitude",
    "volume_ratio",
    "volatility_ratio",
    "return_std",
    "vwap_distance",
    "log_reach",
    "log_money",
    "dollar_volume_z",
    "adjusted_volume",
    "market_relative_return",
    "market_relative_volume",
    "return_z",
    "gap_z",
    "body_z",
    "residual_z",
    "range_z",
    "volume_z",
    "excursion_z",
    "simple_return_z",
    "macro_volatility",
    "macro_range",
    "macro_reach",
    "macro_volume",
    "return_vector",
    "gap_vector",
    "body_vector",
    "residual_vector",
    "range_vector",
    "volume_vector",
)
FEATURE_VALUES = Table(
    "features",
    {
        **_BAR,
        "version": "text",
        "closes_at": "timestamp",
        **dict.fromkeys(_FEATURES, "float"),
        "known_at": "timestamp",
    },
    ("symbol", "interval", "ts", "version", "known_at"),
    versioned=True,
)

# What each feature added to a trained model's score of an unusual bar: ``part`` of ``total``, in
# the words of ``what``; ``value`` is the feature's own. The feature "" is what belongs to none.
CONTRIBUTIONS = Table(
    "contributions",
    {
        **_BAR,
        "detector": "text",
        "feature": "text",
        "value": "float",
        "part": "float",
        "total": "float",
        "what": "text",
        "known_at": "timestamp",
    },
    ("symbol", "interval", "ts", "detector", "feature", "known_at"),
    versioned=True,
)

# How far the recent bars that a trained model saw lie from those of its training: the population
# stability index of each feature and of "score", over ``n_bars`` bars (weights added up).
DRIFT = Table(
    "drift",
    {
        "detector": "text",
        "interval": "text",
        "name": "text",
        "stability": "float",
        "n_bars": "float",
        "known_at": "timestamp",
    },
    ("detector", "interval", "name", "known_at"),
)

# The median return of the watched instruments of one calendar at one bar, judged as if it were
# an instrument; ``volume`` is their median ln(volume / mean of the 10 earlier volumes). The first
# value stays: an instrument that comes late does not change it.
MARKET = Table(
    "market",
    {
        "watch_list": "text",
        "interval": "text",
        "ts": "timestamp",
        "return": "float",
        "volume": "float",
        "n_instruments": "int",
        "z": "float",
        "p": "float",
        "rate": "float",
        "verdict": "text",
        "known_at": "timestamp",
    },
    ("watch_list", "interval", "ts"),
)

# kind is "anomaly", "market" (a market-wide day), "payments", "correction", "data" or "model";
# payload is the Alert
# record as it was made.
ALERTS = Table(
    "alerts",
    {
        "id": "text",
        "kind": "text",
        "interval": "text",
        "ts": "timestamp",
        "symbols": "json",
        "headline": "text",
        "payload": "json",
        "known_at": "timestamp",
    },
    ("id",),
)

# The smallest thing that is told once: one bar of an instrument or a market, or one trouble with
# data. Adjacent bars share their ``incident``; kind "continued" is one that was not worth telling
# again, and ``alert_id`` the alert that had told the incident ("" when a person asked for quiet).
INCIDENTS = Table(
    "incidents",
    {
        "id": "text",
        "alert_id": "text",
        "kind": "text",
        "symbol": "text",
        "interval": "text",
        "ts": "timestamp",
        "incident": "text",
        "known_at": "timestamp",
    },
    ("id",),
)

DELIVERIES = Table(
    "deliveries",
    {
        "alert_id": "text",
        "channel": "text",
        "message_id": "text",
        "delivered_at": "timestamp",
    },
    ("alert_id", "channel"),
)

# action is "acknowledge", "snooze" or "label"; label is a person's finding; made_by is who said it,
# as far as the way that he took knows him: the key of the API, the dashboard's visitor.
LABELS = Table(
    "labels",
    {
        "alert_id": "text",
        "symbol": "text",
        "action": "text",
        "until": "timestamp",
        "label": "text",
        "note": "text",
        "made_by": "text",
        "made_at": "timestamp",
    },
    ("alert_id", "symbol", "action", "made_at"),
)

# What a stream knows of each instrument just now: how many candles it judged since it began, the
# last judged bar, how long after its close that was known, and the last unusual one; ``is_open`` is
# 1 while its incident goes on.
LIVE = Table(
    "live",
    {
        "symbol": "text",
        "interval": "text",
        "ts": "timestamp",
        "n_judged": "int",
        "lag_s": "float",
        "verdict": "text",
        "level": "int",
        "votes": "int",
        "p": "float",
        "unusual_ts": "timestamp",
        "unusual_level": "int",
        "is_open": "int",
        "parameters": "text",
        "updated_at": "timestamp",
    },
    ("symbol", "interval"),
)

# Who may ask the API. ``digest`` is the SHA-256 of the key, which is kept nowhere; scopes are
# "read", "write" and "score", joined by commas; ``revoked_at`` is NULL while it holds.
API_KEYS = Table(
    "api_keys",
    {
        "id": "text",
        "name": "text",
        "digest": "text",
        "scopes": "text",
        "made_at": "timestamp",
        "expires_at": "timestamp",
        "revoked_at": "timestamp",
    },
    ("id",),
)

RUNS = Table(
    "runs",
    {
        "id": "text",
        "command": "text",
        "as_of": "timestamp",
        "status": "text",
        "exit_code": "int",
        "started_at": "timestamp",
        "finished_at": "timestamp",
        "counts": "json",
        "manifest": "text",
    },
    ("id",),
)

TABLES = (
    CANDLES,
    MEASURES,
    BANDS,
    FORECASTS,
    SILENT,
    TRIALS,
    ACTIONS,
    QUARANTINE,
    RAW_OBJECTS,
    SCORES,
    CHANNELS,
    FEATURE_VALUES,
    VERDICTS,
    CONTRIBUTIONS,
    DRIFT,
    MARKET,
    ALERTS,
    INCIDENTS,
    DELIVERIES,
    LABELS,
    LIVE,
    API_KEYS,
    RUNS,
)


def known(rows: pd.DataFrame, as_of: pd.Timestamp, table: Table = CANDLES) -> pd.DataFrame:
    """Keep what was known at ``as_of``: of each bar, its latest version that was known by then.

    A bar enters the table only once it has closed, so a version known by ``as_of`` is one
    of a closed bar. Every reader of history goes through this rule.

    Parameters
    ----------
    rows : DataFrame
        Rows of ``table``, all versions.
    as_of : Timestamp
        The instant whose knowledge may be used.
    """
    rows = rows[rows["known_at"] <= as_of]
    newest = rows.sort_values("known_at", kind="stable").drop_duplicates(
        list(table.bar_key), keep="last"
    )
    return newest.sort_values(list(table.bar_key), kind="stable").reset_index(drop=True)
