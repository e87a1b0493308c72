"""Trouble with data: what failed, what is late or missing, what was kept aside."""

import numpy as np
import pandas as pd

from components import checks, trouble_words
from components.incidents import TOLD_WITHIN, Incident, alert_id
from components.records import Alert
from components.steps.comparing import OF_SECOND
from components.steps.measuring import expected_bin
from components.steps.missing import last_bars, missing_bars
from components.steps.parts import Parts
from components.tables import CANDLES
from components.words import counted

DEAD = "dead_market"

# Bars that a check refused of late; one that comes again is the same trouble. Rows without a
# time are one trouble of so many rows.
KEPT_ASIDE = """
select check_name, symbol, min(ts) as ts,
       greatest(count(distinct (line, row_text::text)) filter (where ts is null), 1) as n
from quarantine
where known_at > %(since)s and known_at <= %(as_of)s and symbol = any(%(symbols)s)
  and interval = %(interval)s and check_name = any(%(checks)s)
group by check_name, symbol, coalesce(ts, to_timestamp(0)) order by check_name, symbol, ts
"""


def alerts(parts: Parts, as_of: pd.Timestamp) -> list[tuple[Alert, list[Incident]]]:
    """One alert for all data trouble that was not told yet, or none."""
    last = last_bars(parts, as_of)
    failures = parts.run.failures
    # Of several failures the first says why; the others may not even have been asked for.
    failed = {f.symbol: f for f in reversed(failures) if not f.kind.startswith(OF_SECOND)}
    of_second = {f.symbol: f for f in failures if f.kind.startswith(OF_SECOND)}
    late = missing_bars(parts, as_of, as_of - parts.watch.grace)
    aside = _kept_aside(parts, as_of)

    found: dict[str, list[Incident]] = {}
    for symbol, failure in failed.items():
        known = last.get(symbol)
        if parts.is_measured and known == expected_bin(parts, as_of):
            # The newest month came: an old one that fails is not told at every bin.
            known = _month(as_of)
        found[f"failed {symbol}"] = [_incident(parts, symbol, known, failure.kind)]
    for symbol, failure in of_second.items():
        found[f"second {symbol}"] = [_incident(parts, symbol, _month(as_of), failure.kind)]
    stale, missing = {}, {}
    for name, ts in late.groupby("symbol")["ts"]:
        symbol = str(name)
        trailing = ts if symbol not in last else ts[ts > last[symbol]]
        inner = ts[~ts.isin(trailing)]
        if len(trailing):
            found[f"stale {symbol}"] = [_incident(parts, symbol, last.get(symbol), "late")]
            stale[symbol] = (last.get(symbol), ts.max())
        if len(inner):
            found[f"missing {symbol}"] = [_incident(parts, symbol, t, "missing") for t in inner]
            missing[symbol] = list(inner)
    n_untimed: dict[str, int] = {}
    for pair, rows in aside.groupby(["check_name", "symbol"]):
        check, owner = map(str, pair)
        refused = [_incident(parts, owner, ts, check) for ts in rows["ts"]]
        found[f"aside {check} {owner}"] = refused
        untimed = zip(refused, rows["ts"], rows["n"], strict=True)
        n_untimed |= {i.id: int(n) for i, ts, n in untimed if pd.isna(ts)}
    for name, run in _dead_runs(parts, aside, last, as_of).items():
        del found[f"aside {DEAD} {name}"]
        found[f"dead {name}"] = [_incident(parts, name, ts, DEAD) for ts in run]

    told = _told(parts, [i for group in found.values() for i in group])
    news = {key: [i for i in group if i.id not in told] for key, group in found.items()}
    news = {key: group for key, group in news.items() if group}
    if not news:
        return []
    notes = trouble_words.data_notes(
        [
            *(f for symbol, f in failed.items() if f"failed {symbol}" in news),
            *(f for symbol, f in of_second.items() if f"second {symbol}" in news),
        ],
        {s: bars for s, bars in stale.items() if f"stale {s}" in news and s not in failed},
        {s: [i.ts for i in news[f"missing {s}"]] for s in missing if f"missing {s}" in news},
        _counted(
            [i for key, group in news.items() if key.startswith("aside ") for i in group],
            n_untimed,
        ),
        parts.watch.interval,
        {
            key.removeprefix("dead "): [i.ts for i in news[key]]
            for key in news
            if key[:5] == "dead "
        },
        bar="bin" if parts.is_measured else "bar",
        zone=parts.watch.zone if parts.is_measured else "UTC",
    )
    incidents = [incident for group in news.values() for incident in group]
    symbols = tuple(sorted({incident.symbol for incident in incidents}))
    noun = "data set" if parts.is_measured else "instrument"
    alert = Alert(
        id=alert_id(incidents),
        kind="data",
        interval=parts.watch.interval,
        ts=as_of.isoformat(),
        symbols=symbols,
        headline=f"data trouble with {counted(len(symbols), noun)}",
        notes=notes,
    )
    return [(alert, incidents)]


def _month(as_of: pd.Timestamp) -> pd.Timestamp:
    """When a second source, or an old month, that goes on failing is told again."""
    return as_of.normalize().replace(day=1)


def _dead_runs(
    parts: Parts, aside: pd.DataFrame, last: dict[str, pd.Timestamp], as_of: pd.Timestamp
) -> dict[str, list[pd.Timestamp]]:
    """Each dead market's last stored bars before the rows kept aside: a run has one."""
    runs = {}
    for symbol, ts in aside.loc[aside["check_name"] == DEAD].groupby("symbol")["ts"]:
        name = str(symbol)
        if name in last and last[name] < ts.min():
            runs[name] = [last[name]]
            continue
        stored = parts.warehouse.read(
            CANDLES,
            symbols=[name],
            interval=parts.watch.interval,
            since=ts.min() - TOLD_WITHIN,
            until=ts.max(),
            as_of=as_of,
            columns=["symbol", "ts"],
        )
        known = pd.DatetimeIndex(stored["ts"])
        place = np.unique(known.searchsorted(pd.DatetimeIndex(ts))) - 1
        runs[name] = [known[n] if n >= 0 else ts.min() for n in place]
    return runs


def _incident(parts: Parts, symbol: str, ts: pd.Timestamp | None, what: str) -> Incident:
    at = pd.Timestamp(0, tz="UTC") if ts is None or pd.isna(ts) else pd.Timestamp(ts)
    return Incident("data", symbol, parts.watch.interval, at, what)


def _kept_aside(parts: Parts, as_of: pd.Timestamp) -> pd.DataFrame:
    return parts.warehouse.query(
        KEPT_ASIDE,
        {
            "since": (as_of - TOLD_WITHIN).to_pydatetime(),
            "as_of": as_of.to_pydatetime(),
            "symbols": list(parts.watch.symbols),
            "interval": parts.watch.interval,
            "checks": sorted(checks.TOLD),
        },
    )


def _counted(refused: list[Incident], n_untimed: dict[str, int]) -> pd.DataFrame | None:
    """Refused rows by check and instrument: their number and the first of them.

    ``n_untimed`` has the number of rows of each incident that is about rows without a time.
    """
    if not refused:
        return None
    rows = pd.DataFrame({"check_name": [i.what for i in refused]})
    times = [pd.NaT if i.id in n_untimed else i.ts for i in refused]
    rows = rows.assign(
        symbol=[i.symbol for i in refused],
        ts=pd.Series(times, dtype="datetime64[us, UTC]"),
        n=[n_untimed.get(i.id, 1) for i in refused],
    )
    return rows.groupby(["check_name", "symbol"], as_index=False).agg(
        n=("n", "sum"), ts=("ts", "min")
    )


def _told(parts: Parts, incidents: list[Incident]) -> set[str]:
    rows = parts.warehouse.query(
        "select id from incidents where id = any(%(ids)s)",
        {"ids": [incident.id for incident in incidents]},
    )
    return set(rows["id"])
