"""Alerts about the market: what is told together, and what is noted without a word."""

import pandas as pd

from components import headlines
from components.incidents import CONTINUED, TOLD, Incident, alert_id
from components.panels import Array
from components.reasons import BEYOND
from components.records import N_EXAMPLES, Alert
from components.steps.findings import findings, folded, judged_at
from components.steps.news import news
from components.steps.parts import Parts

Made = list[tuple[Alert, list[Incident]]]

# An incident that is noted and not told, and the id of the bar that was told in its place.
Quiet = list[tuple[Incident, str]]


def market_alerts(
    parts: Parts, as_of: pd.Timestamp, *, has_corrections: bool = True
) -> tuple[Made, Quiet]:
    """One alert for the anomalies of each bar, one for its corrections, and what stays quiet.

    On a market-wide bar the instruments of that market make one alert of their own.
    """
    rows, wide = news(parts, as_of, has_corrections=has_corrections)
    loud = rows[rows["fate"] == TOLD]
    still = rows[rows["fate"] != TOLD]
    tellers = still["teller"].where(still["fate"] == CONTINUED, "")
    quiet = list(zip(still["noted"], tellers, strict=True))
    calendars = [
        symbol if kind == "market" else parts.calendars.of(symbol)
        for symbol, kind in zip(loud["symbol"], loud["kind"], strict=True)
    ]
    bars = set(zip(wide["symbol"], wide["ts"], strict=True)) - _hardly_wide(loud, calendars, wide)
    is_wide = [
        kind != "correction" and (calendar, ts) in bars
        for calendar, ts, kind in zip(calendars, loud["ts"], loud["kind"], strict=True)
    ]
    of_market = [name if held else "" for name, held in zip(calendars, is_wide, strict=True)]
    loud = loud.assign(calendar=pd.Series(of_market, index=loud.index, dtype=object))
    loud = loud.assign(told_as=loud["kind"].where(loud["calendar"] == "", "market"))
    by = ["ts", "told_as", "calendar"]
    made: Made = []
    for key in loud[by].drop_duplicates().sort_values(by, ascending=False).itertuples(index=False):
        group = loud[(loud[by] == list(key)).all(axis=1)]
        market = wide[(wide["symbol"] == key.calendar) & (wide["ts"] == key.ts)]
        incidents = list(group["noted"])
        rows = _most_agreed_first(group[group["kind"] != "market"])
        if len(market):
            made.append((_market_wide(parts, rows, market, incidents, as_of), incidents))
        else:
            made.append((_usual(parts, rows, incidents, as_of), incidents))
    return made, quiet


# Instruments that must have moved with a market which is not unusual enough to be told itself.
LEAST_WITH_IT = 2


def _hardly_wide(
    loud: pd.DataFrame, calendars: list[str], wide: pd.DataFrame
) -> set[tuple[str, pd.Timestamp]]:
    """Bars on which a market moved, not unusually for itself, and too few moved with it."""
    with_it = loud.assign(of=pd.Series(calendars, index=loud.index, dtype=object))
    with_it = with_it[(with_it["kind"] == "anomaly") & (with_it["residual_p"] > BEYOND)]
    n_with_it = with_it.groupby(["of", "ts"]).size()
    muted = wide[wide["verdict"] != "anomaly"]
    return {
        (symbol, ts)
        for symbol, ts in zip(muted["symbol"], muted["ts"], strict=True)
        if n_with_it.get((symbol, ts), 0) < LEAST_WITH_IT
    }


def _usual(
    parts: Parts, rows: pd.DataFrame, incidents: list[Incident], as_of: pd.Timestamp
) -> Alert:
    kind, ts = rows["kind"].iloc[0], rows["ts"].iloc[0]
    found = findings(parts, rows, as_of)
    told = rows["p"].to_numpy(dtype=float)
    note = headlines.discoveries(told, _p_values(parts, rows, "p", ts, as_of))
    return Alert(
        id=alert_id(incidents),
        kind=kind,
        interval=parts.watch.interval,
        ts=ts.isoformat(),
        symbols=tuple(finding.symbol for finding in found),
        headline=headlines.headline(found, len(parts.watch.symbols), kind),
        findings=tuple(found),
        notes=(note,) if note else (),
    )


def _most_agreed_first(rows: pd.DataFrame) -> pd.DataFrame:
    """HIGH before MEDIUM; of a level the rarest first, of equals the one that moved furthest."""
    level = pd.to_numeric(rows["level"], errors="coerce").fillna(0)
    size = (rows["return"] / rows["scale"]).abs().astype(float)
    by = rows.assign(below=-level.astype(float), nearer=-size)
    order = by.sort_values(["below", "p", "nearer", "symbol"], kind="stable").index
    return rows.loc[order]


def _market_wide(
    parts: Parts,
    rows: pd.DataFrame,
    wide: pd.DataFrame,
    incidents: list[Incident],
    as_of: pd.Timestamp,
) -> Alert:
    market = {str(name): value for name, value in wide.iloc[0].items()}
    # What is not known to follow the market stands for itself.
    is_with_it = rows["residual_p"] > BEYOND
    beyond = rows[~is_with_it].sort_values(["residual_p", "p", "symbol"])
    apart = findings(parts, beyond, as_of) if len(beyond) else []
    held = rows[is_with_it]
    n_examples = 0 if apart else min(N_EXAMPLES, len(held))
    examples = findings(parts, held[:n_examples], as_of) if n_examples else []
    with_it = examples + folded(held[n_examples:])
    told = rows["residual_p"].to_numpy(dtype=float)
    judged = _p_values(parts, rows, "residual_p", market["ts"], as_of)
    notes = [
        *headlines.market_notes(market, with_it, len(apart)),
        headlines.discoveries(told, judged),
    ]
    return Alert(
        id=alert_id(incidents),
        kind="market",
        interval=parts.watch.interval,
        ts=market["ts"].isoformat(),
        symbols=tuple(finding.symbol for finding in (*apart, *with_it)),
        headline=headlines.market_headline(market, apart, with_it),
        findings=(*apart, *with_it),
        notes=tuple(note for note in notes if note),
        calendar=str(market["symbol"]),
        n_folded=len(with_it),
    )


def _p_values(
    parts: Parts, rows: pd.DataFrame, column: str, ts: pd.Timestamp, as_of: pd.Timestamp
) -> Array:
    """P-values of all instruments judged at the bar, where the list is long enough to ask."""
    if len(rows) <= headlines.LONG_LIST:
        return rows[column].to_numpy(dtype=float)
    return judged_at(parts, ts, as_of)[column].to_numpy(dtype=float)
