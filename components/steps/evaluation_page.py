"""An evaluation as one HTML page that needs nothing beside itself, and as a table of text."""

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from components.evaluation.plants import KINDS, SIZES
from components.templates import fill
from components.words import percent

Result = Mapping[str, Any]

# Baselines as a person reads them.
NAMES = {
    "amplitude_zscore": "base rule",
    "volatility_zscore": "|z| at the budget",
    "dual_stream": "peer's rule",
    "random": "random alerts",
}
JUDGE = "this judge"


def page(result: Result) -> str:
    """The evaluation's page; of a simulated market it tells the rates alone."""
    methods = _methods(result)
    full = "planted" in result
    return fill(
        "evaluation.html.j2",
        title="Tremor: evaluation" if full else "Tremor: a market without anomalies",
        result=result,
        judge=", ".join(result["judge"]),
        full=full,
        rate_chart=_rate_chart(result),
        recall_chart=_recall_chart(methods) if full else None,
        study_chart=_study_chart(methods) if full else None,
        compared=[_row(name, block) for name, block in methods.items()] if full else [],
        kinds=_kinds(result) if full else [],
        levels=_levels(result) if full else [],
        years=_years(result),
        number=number,
        span=span,
        share=lambda value: percent(_or_nan(value)),
        signed=lambda value: percent(_or_nan(value), sign=True),
    )


def number(value: float | None, decimals: int = 2) -> str:
    """A figure with fixed decimals, or a dash where nothing was measured."""
    if value is None or not math.isfinite(value):
        return "\N{EN DASH}"
    return f"{value:,.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def span(bounds: Sequence[float | None], decimals: int = 2) -> str:
    """An interval: 0.51 to 1.00."""
    low, high = bounds
    return f"{number(low, decimals)} to {number(high, decimals)}"


def text_table(result: Result) -> str:
    """The judge and its baselines as lines of text."""
    realised = result["realised"]
    panel = result["panel"]
    lines = [
        f"{', '.join(result['judge'])} at {result['alerts_per_year']:g} alerts per instrument and "
        f"year; {panel['n_instruments']:,} instruments, {panel['n_bars']:,} bars, "
        f"seed {panel['seed']}",
        "",
        f"{'realised':<20}{number(realised['pooled']):>8}   by instrument (p10 to p90) "
        f"{span((realised['by_instrument']['p10'], realised['by_instrument']['p90']))}",
        f"{'by volatility':<20}"
        + "   ".join(f"{k} {number(v)}" for k, v in realised["by_tercile"].items()),
        f"{'by year':<20}" + _worst_years(realised["by_year"]),
    ]
    if "planted" in result:
        lines += ["", *_comparison(result), "", *_kind_lines(result), "", *_level_lines(result)]
    return "\n".join(lines)


def _worst_years(years: Mapping[str, Result]) -> str:
    if not years:
        return number(None)
    low = min(years, key=lambda year: years[year]["rate"])
    high = max(years, key=lambda year: years[year]["rate"])
    return (
        f"least {number(years[low]['rate'])} ({low}), most {number(years[high]['rate'])} ({high})"
    )


def _comparison(result: Result) -> list[str]:
    heads = ("rate", "planted", "told alone", "precision", "VUS-PR", "events", "vol. after")
    lines = [f"{'':<20}" + "".join(f"{head:>12}" for head in heads)]
    for name, block in _methods(result).items():
        row = _row(name, block)
        cells = [row[key] for key in ("rate", "recall", "told", "ap", "vus", "events", "ratio")]
        lines.append(f"{name:<20}" + "".join(f"{number(cell):>12}" for cell in cells))
    n = result["events"]["n"]
    return [
        *lines,
        "planted: recall minus chance, middle size, told or kept aside by a data check",
        f"events: {n} dated ones, {result['events']['n_undecided']} more undecided",
    ]


def _kind_lines(result: Result) -> list[str]:
    lines = [f"{'planted':<22}" + "".join(f"{size:>9}" for size in SIZES) + f"{'precision':>12}"]
    for kind in _kinds(result):
        cells = "".join(f"{number(value):>9}" for value in kind["recall"])
        lines.append(f"{kind['name']:<22}{cells}{number(kind['ap']):>12}")
    return lines


def _level_lines(result: Result) -> list[str]:
    told = [f"{row['name']} {number(row['false_rate'])} of {row['n']:,}" for row in _levels(result)]
    return [f"{'false by level':<20}" + ", ".join(told)]


def _methods(result: Result) -> dict[str, Result]:
    others = {NAMES.get(name, name): block for name, block in result.get("baselines", {}).items()}
    return {JUDGE: result, **others}


def _row(name: str, block: Result) -> dict[str, Any]:
    study, planted = block["event_study"], block["planted"]
    return {
        "name": name,
        "rate": block["realised"]["pooled"],
        "recall": planted["recall"],
        "told": planted["recall_told"],
        "ap_told": planted["average_precision_told"],
        "ap": planted["average_precision"],
        "vus": planted["vus_pr"],
        "vus_told": planted["vus_pr_told"],
        "events": block["events"]["recall"],
        "events_interval": block["events"]["interval"],
        "ratio": study["volatility_ratio"],
        "interval": study["interval"],
        "reversal": study["reversal"],
    }


def _kinds(result: Result) -> list[dict[str, Any]]:
    by_kind = result["planted"]["by_kind"]
    return [
        {
            "name": kind.replace("_", " "),
            "n": sum(by_kind[kind]["n"].values()),
            "recall": [by_kind[kind]["recall"][size] for size in SIZES],
            "told": [by_kind[kind]["told"][size] for size in SIZES],
            "aside": [by_kind[kind]["kept_aside"][size] for size in SIZES],
            "ap": by_kind[kind]["average_precision"],
        }
        for kind in KINDS
    ]


def _levels(result: Result) -> list[dict[str, Any]]:
    by_level = result["planted"]["by_level"]
    return [{"name": name, **row} for name, row in by_level.items()]


def _years(result: Result) -> list[dict[str, Any]]:
    return [{"year": year, **row} for year, row in result["realised"]["by_year"].items()]


def _rate_chart(result: Result) -> Markup | None:
    shown = [row for row in _years(result) if row["rate"] is not None]
    if not shown:
        return None
    # matplotlib takes half a second to import, and --json needs no picture.
    from components.charts import rate_png

    stated = [float(result["alerts_per_year"])] * len(shown)
    years = [int(row["year"]) for row in shown]
    return _data_uri(rate_png(years, [row["rate"] for row in shown], stated))


def _recall_chart(methods: Mapping[str, Result]) -> Markup:
    from components.charts import compared_png

    def recalls(block: Result) -> list[float]:
        by_kind = block["planted"]["by_kind"]
        return [_or_nan(by_kind[kind]["recall"]["middle"]) for kind in KINDS]

    groups = [kind.replace("_", " ") for kind in KINDS]
    measured = {name: recalls(block) for name, block in methods.items()}
    return _data_uri(compared_png(groups, measured, "recall minus chance"))


def _study_chart(methods: Mapping[str, Result]) -> Markup | None:
    from components.charts import intervals_png

    rows = [_row(name, block) for name, block in methods.items()]
    rows = [row for row in rows if row["ratio"] is not None]
    if not rows:
        return None
    png = intervals_png(
        [row["name"] for row in rows],
        [row["ratio"] for row in rows],
        [[_or_nan(bound) for bound in row["interval"]] for row in rows],
        "volatility of the next five bars / volatility known before, over the same of all bars",
    )
    return _data_uri(png)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _data_uri(png: bytes) -> Markup:
    # Base64 of bytes made here holds nothing that needs escaping.
    return Markup("data:image/png;base64," + base64.b64encode(png).decode())  # noqa: S704
