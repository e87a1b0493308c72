"""What people said of alerts: snoozed, acknowledged, labelled."""

from collections.abc import Collection

import pandas as pd

from components import incidents
from components.steps.parts import Parts
from components.warehouse import Warehouse
from components.words import clean, moment

# Each silence asked for, and the first normal bar after the alert that it was asked for.
SILENCES = """
select l.symbol, l.action, l.until, a.ts, coalesce(calm.ts, market.ts) as calm
from labels l join alerts a on a.id = l.alert_id
left join lateral (
    select v.ts from verdicts v
    where v.symbol = l.symbol and v.interval = a.interval and v.judge = %(judge)s
      and v.ts > a.ts and v.verdict = 'normal' and v.known_at <= %(as_of)s
      and not exists (
        select 1 from verdicts n
        where (n.symbol, n.interval, n.ts, n.judge) = (v.symbol, v.interval, v.ts, v.judge)
          and n.known_at > v.known_at and n.known_at <= %(as_of)s
      )
    order by v.ts limit 1
) calm on true
left join lateral (
    select m.ts from market m
    where m.watch_list = l.symbol and m.interval = a.interval
      and m.ts > a.ts and m.verdict = 'normal' and m.known_at <= %(as_of)s
    order by m.ts limit 1
) market on true
where l.action in ('snooze', 'acknowledge') and a.kind in ('anomaly', 'market', 'correction')
  and l.made_at <= %(as_of)s and a.interval = %(interval)s
"""

# A label is said of an incident: of the bar that was told, and of those that had continued it
# by then.
LABELLED = """
select l.symbol, i.ts, l.label, l.note, l.made_at, a.ts as told
from labels l
join alerts a on a.id = l.alert_id
join incidents i on i.alert_id = l.alert_id and i.symbol = l.symbol
  and i.known_at <= l.made_at
where l.action = 'label' and l.made_at <= %(as_of)s and a.kind <> 'data'
  and l.symbol = any(%(symbols)s) and i.interval = %(interval)s
order by l.symbol, i.ts, l.made_at, l.alert_id
"""


def quiet(parts: Parts, rows: pd.DataFrame, as_of: pd.Timestamp) -> "pd.Series[bool]":
    """Which bars (symbol, ts) a person asked to hear nothing of."""
    at = {
        "as_of": as_of.to_pydatetime(),
        "interval": parts.watch.interval,
        "judge": parts.ensemble.name,
    }
    return incidents.is_quiet(rows, parts.warehouse.query(SILENCES, at), as_of)


def labelled_bars(
    warehouse: Warehouse, symbols: Collection[str], interval: str, as_of: pd.Timestamp
) -> pd.DataFrame:
    """Each labelled bar with its newest label as known at ``as_of``.

    Columns symbol, ts, label, note, made_at, and ``told``: the bar of the alert.
    """
    said = _said(warehouse, symbols, interval, as_of)
    return said.drop_duplicates(["symbol", "ts"], keep="last", ignore_index=True)


def data_errors(
    warehouse: Warehouse, symbols: Collection[str], interval: str, as_of: pd.Timestamp
) -> pd.MultiIndex:
    """Bars (symbol, ts) that a person found to be data errors, as known at ``as_of``."""
    said = labelled_bars(warehouse, symbols, interval, as_of)
    return pd.MultiIndex.from_frame(said.loc[said["label"] == "data-error", ["symbol", "ts"]])


def doubted_bars(
    warehouse: Warehouse, symbols: Collection[str], interval: str, as_of: pd.Timestamp
) -> pd.DataFrame:
    """Bars that a person ever found to be data errors, as known at ``as_of``.

    Columns symbol, ts, ``is_error``: whether that finding is in force, and ``known_at``: since
    when it is, or was taken back.
    """
    said = _said(warehouse, symbols, interval, as_of)
    is_error = said["label"] == "data-error"
    was_error = is_error.groupby([said["symbol"], said["ts"]]).shift(fill_value=False)
    turns = said.assign(is_error=is_error)[is_error != was_error]
    turns = turns.drop_duplicates(["symbol", "ts"], keep="last", ignore_index=True)
    return turns[["symbol", "ts", "is_error", "made_at"]].rename(columns={"made_at": "known_at"})


def _said(
    warehouse: Warehouse, symbols: Collection[str], interval: str, as_of: pd.Timestamp
) -> pd.DataFrame:
    """Every label of every bar, oldest first."""
    return warehouse.query(
        LABELLED,
        {"symbols": list(symbols), "interval": interval, "as_of": as_of.to_pydatetime()},
    )


def last_labels(parts: Parts, symbols: Collection[str], as_of: pd.Timestamp) -> dict[str, str]:
    """What was last said of an alert of each instrument, as a sentence."""
    interval = parts.watch.interval
    rows = labelled_bars(parts.warehouse, symbols, interval, as_of)
    rows = rows.sort_values(["made_at", "told"], kind="stable")
    rows = rows.drop_duplicates("symbol", keep="last")
    return {
        row["symbol"]: f"its alert of {moment(row['told'], interval)} was labelled "
        f"{row['label']} on {moment(row['made_at'])}"
        + (f": {clean(row['note'], 120)}" if row["note"] else "")
        for row in rows.to_dict("records")
    }
