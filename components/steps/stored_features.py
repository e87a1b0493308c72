"""Stored features of the newest bars, as the warehouse holds them."""

from collections.abc import Sequence

import pandas as pd

from components.feature_views import CLOSED, INSTANTS, KEY, OPENED, valid_for
from components.features import VERSION
from components.sessions import length
from components.tables import FEATURE_VALUES
from components.warehouse import Warehouse

# An exchange is open for 6.5 of 24 hours on five of seven days.
OPEN_SHARE = 6

# Known of every bar but one that a person found to be a data error.
ALWAYS_KNOWN = "body"


def newest_features(
    warehouse: Warehouse,
    symbols: Sequence[str],
    interval: str,
    names: Sequence[str],
    n_bars: int,
    as_of: pd.Timestamp,
) -> pd.DataFrame:
    """The newest ``n_bars`` bars of each instrument: symbol, ts, closes_at, known_at, features.

    In the versions known at ``as_of``. An instrument without a valid bar then has no row. Bars
    found to be data errors are passed over, as a judge does, but for the newest.
    """
    since = as_of - valid_for(interval) - OPEN_SHARE * n_bars * length(interval)
    rows = warehouse.read(
        FEATURE_VALUES,
        symbols=symbols,
        interval=interval,
        since=since,
        as_of=as_of,
        columns=list(dict.fromkeys([KEY, "version", *INSTANTS, ALWAYS_KNOWN, *names])),
    )
    rows = rows[(rows["version"] == VERSION) & (rows[CLOSED] <= as_of)]
    newest = rows.groupby(KEY)[OPENED].transform("max")
    rows = rows[rows[ALWAYS_KNOWN].notna() | (rows[OPENED] == newest)]
    return rows.groupby(KEY).tail(n_bars)[[KEY, *INSTANTS, *names]].reset_index(drop=True)
