"""Close: the report, the manifest and the record of the run; then the heartbeat."""

import json
import logging
from dataclasses import asdict
from datetime import datetime
from typing import Any

import pandas as pd
import requests

from components import checks, report
from components.carried import Snapshot
from components.documents import records
from components.records import Alert, Failure, RunSummary
from components.stances import shown
from components.steps.ledger import note
from components.steps.measuring import bins_held, expected_bin
from components.steps.missing import last_bars, missing_bars
from components.steps.model_trouble import drift_of
from components.steps.parts import Parts
from components.steps.quality import lately
from components.steps.realised import carried_now, realised
from components.tables import VERDICTS

log = logging.getLogger("tremor")

# What a run added to the ledgers: its alerts, and every delivery that it made or left waiting.
LEDGERS = {
    "alerts": "select * from alerts where known_at = %(as_of)s order by id",
    "incidents": "select * from incidents where known_at = %(as_of)s order by id",
    "deliveries": """
        select d.* from deliveries d left join alerts a on a.id = d.alert_id
        where a.known_at = %(as_of)s or d.delivered_at >= %(started)s
        order by d.alert_id, d.channel
    """,
}


def close(parts: Parts, alerts: tuple[Alert, ...]) -> RunSummary:
    """Write the run's page and manifest, and only then note it as finished."""
    run = parts.run
    run.counts["symbols"] = len(parts.watch.symbols)
    run.counts["alerts"] = len(alerts)
    run.exit_code = 3 if run.failures or run.undelivered or run.degraded else 0
    run.finished_at = parts.clock()
    if parts.is_dry:
        run.status = "dry"
        return run
    run.status = "finished"
    run.report = parts.lake.put_run(run.id, "report.html", _page(parts, alerts).encode())
    _record(parts)
    if not _is_heard(parts):
        run.exit_code = 3
        _record(parts)
    said = {
        "event": "heartbeat",
        "command": run.command,
        "exit_code": run.exit_code,
        "alerts": run.counts["alerts"],
        "seconds": round(sum(run.seconds.values()), 3),
    }
    log.info("%s finished", run.id, extra=said)
    return run


def _record(parts: Parts) -> None:
    run = parts.run
    parts.lake.put_run(run.id, "manifest.json", _manifest(parts).encode())
    note(parts, manifest=f"runs/{run.id}/manifest.json")


def _manifest(parts: Parts) -> str:
    """What replays the run, and what was told: enough to restore a lost warehouse."""
    run = parts.run
    at = {"as_of": run.as_of.to_pydatetime(), "started": run.started_at}
    ledger = {table: _rows(parts, sql, at) for table, sql in LEDGERS.items()}
    body = {
        "id": run.id,
        "command": run.command,
        "as_of": run.as_of,
        "status": run.status,
        "exit_code": run.exit_code,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "code_version": parts.code_version,
        "settings": parts.settings,
        "source": parts.source.name,
        "symbols": parts.watch.symbols,
        "judge": {
            "detectors": parts.ensemble.detectors,
            "alerts_per_year": parts.ensemble.alerts_per_year,
            "quorum": parts.ensemble.quorum,
            "fingerprint": parts.ensemble.fingerprint,
            "trained": parts.ensemble.trained.name if parts.ensemble.trained else "",
            "parameters": parts.ensemble.parameters_used,
        },
        "read": sorted(set(run.hashes)),
        "counts": run.counts,
        "seconds": {step: round(s, 3) for step, s in run.seconds.items()},
        "failures": [asdict(failure) for failure in run.failures],
        "undelivered": run.undelivered,
        "degraded": run.degraded,
        "told": ledger,
    }
    return json.dumps(body, default=_text, sort_keys=True, indent=1)


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _rows(parts: Parts, sql: str, at: dict[str, Any]) -> list[dict[str, Any]]:
    rows = parts.warehouse.query(sql, at)
    frame = rows.astype(object).where(rows.notna(), None)
    return records(frame)


def _page(parts: Parts, alerts: tuple[Alert, ...]) -> str:
    watch, as_of = parts.watch, parts.run.as_of
    symbols, interval = list(watch.symbols), watch.interval
    carried = carried_now(parts)
    bars = _bars(parts, carried)
    last = last_bars(parts, as_of)
    verdicts = parts.warehouse.read(
        VERDICTS,
        symbols=symbols,
        interval=interval,
        since=min(last.values(), default=as_of)
        if len(symbols) < 500
        else as_of - pd.Timedelta(days=14),
        as_of=as_of,
    )
    verdicts = verdicts[verdicts["judge"] == parts.ensemble.name]
    verdicts = verdicts.drop_duplicates("symbol", keep="last")
    n_missing = missing_bars(parts, as_of, as_of - watch.grace).groupby("symbol")["ts"].size()
    failed = {failure.symbol for failure in parts.run.failures}
    health = pd.DataFrame(
        [
            {
                "symbol": symbol,
                "last_ts": last.get(symbol, pd.NaT),
                "expected_ts": _expected(parts, symbol),
                "n_bars": int(bars.get(symbol, 0)),
                "n_missing": int(n_missing.get(symbol, 0)),
                "status": _status(symbol, failed, last, n_missing),
            }
            for symbol in symbols
        ]
    )
    aside = parts.warehouse.query(
        "select check_name, count(*) as n, min(symbol) as symbol, min(ts) as ts "
        "from quarantine where known_at <= %(as_of)s and symbol = any(%(symbols)s) "
        "and check_name = any(%(checks)s) group by check_name order by n desc",
        {"as_of": as_of.to_pydatetime(), "symbols": symbols, "checks": sorted(checks.TOLD)},
    )
    trained = parts.ensemble.trained
    data = report.ReportData(
        summary=parts.run,
        settings=parts.settings,
        alerts=alerts,
        verdicts=verdicts,
        realised=realised(parts, carried),
        health=health,
        quarantine=aside,
        quality=lately(parts, health),
        model=shown(trained.name) if trained else "",
        drift=drift_of(parts, as_of),
    )
    return report.page(data)


def _bars(parts: Parts, carried: Snapshot | None) -> dict[str, int]:
    """How many bars of each instrument were judged, or how many bins of a data set are held."""
    if parts.is_measured:
        n_bins = bins_held(parts, parts.run.as_of)["n_bins"]
        return {str(name): int(n) for name, n in n_bins.items()}
    if carried is None:
        return {}
    return dict(zip(carried.symbols, carried.state["n_bars"].tolist(), strict=True))


def _expected(parts: Parts, symbol: str) -> pd.Timestamp:
    as_of = parts.run.as_of
    if parts.is_measured:
        return expected_bin(parts, as_of)
    return parts.calendars.last_closed(symbol, parts.watch.interval, as_of)


def _status(symbol: str, failed: set[str], last: dict[str, Any], n_missing: pd.Series) -> str:
    if symbol in failed:
        return "failed"
    if symbol not in last:
        return "no data"
    return "late" if n_missing.get(symbol, 0) else "fresh"


def _is_heard(parts: Parts) -> bool:
    """Ask the heartbeat's address, where there is one."""
    if not parts.watch.heartbeat_url:
        return True
    try:
        requests.get(parts.watch.heartbeat_url, timeout=10).raise_for_status()
    except requests.RequestException as error:
        # The address may hold a token, and requests puts it into its messages.
        parts.run.failures.append(Failure("heartbeat", "unavailable", type(error).__name__))
        return False
    return True
