"""A run as one HTML page that needs nothing beside itself; pure."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from markupsafe import Markup

from components import contributions, quality_page
from components.drift import BOUND
from components.quality_page import Quality
from components.records import Alert, BandChart, Chart, RunSummary
from components.templates import fill
from components.words import moment, number

# A page of 10 000 instruments must open in a blink: charts cost about 80 kB, rows 0.2 kB.
MAX_CHARTS = 12
MAX_FINDINGS = 200
MAX_ROWS = 500
MAX_NOTES = 100


@dataclass(frozen=True)
class ReportData:
    """What the page of a run is made from.

    Parameters
    ----------
    verdicts : DataFrame
        Columns of ``VERDICTS``: the latest bar of each instrument.
    realised : DataFrame
        symbol, year, n_decided, n_anomalies, stated (alerts a year); optional
        ``bars_per_year`` where instruments differ.
    health : DataFrame
        symbol, last_ts, expected_ts, n_bars, n_missing, status ("fresh" when all is well).
    quarantine : DataFrame
        check_name, n, symbol, ts: refused rows by check, with the first case.
    drift : DataFrame
        name, stability, n_bars: how far the bars that the trained model ``model`` saw lie from
        those of its training.
    bars_per_year : float
        For the rows of ``realised`` that do not say it.
    quality : Quality, optional
        The last weeks' bars, of the instruments with the most trouble; it says as well whether
        they are bins of measures, and on whose clock.
    """

    summary: RunSummary
    settings: dict[str, str]
    alerts: tuple[Alert, ...]
    verdicts: pd.DataFrame
    realised: pd.DataFrame
    health: pd.DataFrame
    quarantine: pd.DataFrame
    bars_per_year: float = 252.0
    quality: Quality | None = None
    model: str = ""
    drift: pd.DataFrame = field(default_factory=pd.DataFrame)


@dataclass(frozen=True)
class Rows:
    """The first rows of a table as records, and how many there are in all."""

    shown: list[dict[str, Any]]
    total: int

    @property
    def more(self) -> int:
        """How many are not shown."""
        return self.total - len(self.shown)


def page(data: ReportData) -> str:
    """The run's report: what it did, found, judged and was asked to keep."""
    decided, undecided = _split(data.verdicts)
    years = by_year(data.realised, data.bars_per_year)
    symbols = by_symbol(data.realised, data.bars_per_year)
    is_measured = data.quality is not None and data.quality.kind == "measures"
    return fill(
        "report.html.j2",
        summary=data.summary,
        title=f"Tremor {moment(data.summary.as_of, data.settings.get('interval', '1d'))}",
        counts=_words(data.summary.counts),
        alerts=[_cards(alert, pictures) for alert, pictures in _charted(data.alerts)],
        n_anomalies=int((decided["verdict"] == "anomaly").sum()) if len(decided) else 0,
        judged=_rows(decided, _judged_row),
        undecided=_rows(undecided, _judged_row),
        years=_rows(years),
        realised=_rows(symbols),
        pooled=_pooled(symbols),
        rate_chart=_rate_chart(years),
        health=_rows(_worst_first(data.health)),
        n_unwell=int((data.health["status"] != "fresh").sum()) if len(data.health) else 0,
        quarantine=_rows(data.quarantine),
        quality=None if data.quality is None else quality_page.section(data.quality),
        model=data.model,
        drift=_rows(data.drift),
        bound=BOUND,
        made_of={
            "table": contributions.table,
            "explained": contributions.explained,
            "in_words": contributions.in_words,
        },
        n_watched=len(data.health),
        is_measured=is_measured,
        bar="bar" if data.quality is None else data.quality.bar,
        zone="UTC" if data.quality is None else data.quality.zone,
        settings=dict(sorted(data.settings.items())),
        max_notes=MAX_NOTES,
    )


def by_year(realised: pd.DataFrame, bars_per_year: float = 252.0) -> pd.DataFrame:
    """Stated and realised alerts per instrument and year, all instruments together."""
    return _rates(realised, "year", bars_per_year)


def by_symbol(realised: pd.DataFrame, bars_per_year: float = 252.0) -> pd.DataFrame:
    """Stated and realised alerts per year of each instrument, all years together."""
    return _rates(realised, "symbol", bars_per_year)


def _rates(realised: pd.DataFrame, by: str, bars_per_year: float) -> pd.DataFrame:
    columns = ["n_decided", "n_anomalies", "n_years", "expected"]
    if not len(realised):
        return pd.DataFrame(columns=[by, *columns, "stated", "realised"])
    rows = realised.copy()
    if "bars_per_year" not in rows:
        rows["bars_per_year"] = bars_per_year
    rows["n_years"] = rows["n_decided"] / rows["bars_per_year"].astype(float)
    rows["expected"] = rows["stated"] * rows["n_years"]
    sums = rows.groupby(by, as_index=False)[columns].sum()
    lived = sums["n_years"].where(sums["n_years"] > 0)
    return sums.assign(stated=sums["expected"] / lived, realised=sums["n_anomalies"] / lived)


def _pooled(symbols: pd.DataFrame) -> dict[str, float] | None:
    n_years = float(symbols["n_years"].sum()) if len(symbols) else 0.0
    if not n_years:
        return None
    return {
        "stated": float(symbols["expected"].sum()) / n_years,
        "realised": float(symbols["n_anomalies"].sum()) / n_years,
        "n_years": n_years,
        "n_symbols": len(symbols),
    }


def _rate_chart(years: pd.DataFrame) -> Markup | None:
    shown = years.dropna(subset=["stated", "realised"])
    if not len(shown):
        return None
    # matplotlib takes half a second to import, and a page without charts needs none.
    from components.charts import rate_png

    return _data_uri(rate_png([*shown["year"]], [*shown["realised"]], [*shown["stated"]]))


def _split(verdicts: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Decided ones by p, undecided ones by the bars they lack."""
    if not len(verdicts):
        return verdicts, verdicts
    is_undecided = verdicts["verdict"] == "undecided"
    level = verdicts["level"] if "level" in verdicts else pd.Series(0.0, index=verdicts.index)
    decided = verdicts[~is_undecided].assign(
        is_normal=verdicts["verdict"] != "anomaly",
        below=-level.astype(float).fillna(0.0),
    )
    return (
        decided.sort_values(["is_normal", "below", "p", "symbol"], kind="stable"),
        verdicts[is_undecided].sort_values(["bars_lacking", "symbol"], kind="stable"),
    )


def _judged_row(row: Mapping[str, Any]) -> dict[str, Any]:
    move, scale = number(row.get("return")), number(row.get("scale"))
    lacking, level = number(row.get("bars_lacking")), number(row.get("level"))
    return {
        "symbol": str(row["symbol"]),
        "bar": moment(row["ts"], str(row["interval"])),
        "move": move,
        "body": number(row.get("body")),
        "sigmas": abs(move) / scale if scale > 0 else math.nan,
        "p": number(row.get("p")),
        "verdict": str(row["verdict"]),
        "level": 0 if math.isnan(level) else int(level),
        "bars_lacking": 0 if math.isnan(lacking) else int(lacking),
    }


def _worst_first(health: pd.DataFrame) -> pd.DataFrame:
    if not len(health):
        return health
    is_fresh = health["status"] == "fresh"
    return health.assign(is_fresh=is_fresh).sort_values(["is_fresh", "symbol"], kind="stable")


def _rows(table: pd.DataFrame, shape: Any = dict) -> Rows:
    shown = table.head(MAX_ROWS).to_dict("records")
    return Rows([shape(row) for row in shown], len(table))


def _charted(alerts: Sequence[Alert]) -> list[tuple[Alert, dict[int, Markup]]]:
    """Each alert with the pictures of its findings; the first of all alerts have one."""
    left, charted = MAX_CHARTS, []
    for alert in alerts:
        pictures = {}
        for place, finding in enumerate(alert.in_full):
            if finding.chart is not None and left > 0:
                pictures[place] = _picture(finding.chart)
                left -= 1
        charted.append((alert, pictures))
    return charted


def _cards(alert: Alert, pictures: Mapping[int, Markup]) -> dict[str, Any]:
    n_cards = max(pictures, default=-1) + 1
    rest, folded = alert.told_apart[n_cards:][:MAX_FINDINGS], alert.folded[:MAX_FINDINGS]
    lists = {"Also unusual" if n_cards else "Instrument": rest, "Moved with the market": folded}
    return {
        "record": alert,
        "cards": [(found, pictures.get(n)) for n, found in enumerate(alert.in_full[:n_cards])],
        "lists": [(title, found) for title, found in lists.items() if found],
        "more": len(alert.told_apart[n_cards:]) - len(rest) + len(alert.folded) - len(folded),
    }


def _picture(chart: Chart | BandChart) -> Markup:
    from components.charts import finding_png

    return _data_uri(finding_png(chart))


def _data_uri(png: bytes) -> Markup:
    # Base64 of bytes made here holds nothing that needs escaping.
    return Markup("data:image/png;base64," + base64.b64encode(png).decode())  # noqa: S704


def _words(counts: Mapping[str, Any]) -> dict[str, str]:
    named = {name.replace("_", " "): value for name, value in counts.items()}
    return {k: f"{v:,}" if isinstance(v, int) else str(v) for k, v in named.items()}
