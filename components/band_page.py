"""Payment-volume bands as a page that renews itself: what came, what comes next; pure."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from markupsafe import Markup

from components.bins import bin_length
from components.templates import fill
from components.words import UNKNOWN, clean, counted, level_word, moment, number, percent, price

# A page opens in a blink: a picture costs about 75 kB, a row 0.6 kB.
MAX_CHARTS = 24
MAX_ROWS = 500

# Of the bins to come so many are told in a row of the table.
N_NEXT = 2

# Of one series so many of the last bins are listed.
N_LISTED = 36

# A page that shows a day's bins is still looked at after two hours.
LONGEST_REFRESH_S = 7_200

# An alarm is a level of at least MEDIUM.
ALARM = 2

WEEK = pd.Timedelta(weeks=1)


@dataclass(frozen=True)
class BandPage:
    """What the page of a data set is made from.

    Parameters
    ----------
    data_set, unit : str
        Any text; the unit may be empty.
    as_of : Timestamp
        Until when values are known.
    zone, interval : str
        The operator's time zone, and the length of a bin.
    rows : DataFrame
        Bins, oldest first: series, ts, ends_at, actual, expected, lower, upper, p, level,
        standing, so_far, nowcast.
    realised : DataFrame
        series, n_open (open bins judged so far), n_outside (of those, outside of the band),
        stated (the share of open bins that should lie inside, e.g. 0.99).
    pictures : Mapping of str to bytes
        PNG by series, where they are drawn already.
    """

    data_set: str
    as_of: pd.Timestamp
    zone: str
    unit: str
    interval: str
    rows: pd.DataFrame
    realised: pd.DataFrame
    pictures: Mapping[str, bytes] = field(default_factory=dict)


def page(data: BandPage) -> str:
    """The page of a data set: a table of all series, pictures of some, the coverage kept."""
    rows = data.rows
    series = _ordered(rows)
    listed, drawn = series.head(MAX_ROWS), series.head(MAX_CHARTS)
    wanted = {*listed["series"], *drawn["series"]}
    of_name = {name: rows.iloc[at] for name, at in _places(rows).items() if name in wanted}
    alarms, weeks = rows.loc[_is_alarm(rows), "series"].value_counts(), _weeks(rows)
    return fill(
        "bands.html.j2",
        **_frame(data, f"{_named(data.data_set)}: bands of {len(series):,} series"),
        tiles=_tiles(data, series, int(alarms.sum()), weeks),
        table=[_row(of_name[name], data) for name in listed["series"]],
        more=len(series) - len(listed),
        cards=[_card(of_name[name], data) for name in drawn["series"]],
        not_drawn=len(series) - len(drawn),
        coverage=_coverage(data.realised, alarms, weeks),
        more_coverage=max(len(data.realised) - MAX_ROWS, 0),
        days=counted(max(round(7 * weeks), 1), "day"),
        bins=[],
        is_one=False,
    )


def first_series(rows: pd.DataFrame) -> list[str]:
    """The series that have a picture: those with an alarm in their last bin, then the largest."""
    return [str(name) for name in _ordered(rows).head(MAX_CHARTS)["series"]]


def series_page(
    rows: pd.DataFrame,
    *,
    data_set: str,
    as_of: pd.Timestamp,
    zone: str,
    unit: str,
    interval: str,
    pictures: Mapping[str, bytes] | None = None,
) -> str:
    """The page of one series: its picture, and its last and next bins, the newest first."""
    data = BandPage(data_set, as_of, zone, unit, interval, rows, pd.DataFrame(), pictures or {})
    name = _named(rows["series"].iloc[-1]) if len(rows) else "no bins"
    shown = rows.tail(N_LISTED).iloc[::-1]
    return fill(
        "bands.html.j2",
        **_frame(data, f"{_named(data_set)}: {name}"),
        tiles=[],
        table=[],
        more=0,
        cards=[_card(rows, data)] if len(rows) else [],
        not_drawn=0,
        coverage=[],
        more_coverage=0,
        days="",
        bins=[_bin(row, data) for row in shown.to_dict("records")],
        is_one=True,
    )


def _frame(data: BandPage, title: str) -> dict[str, Any]:
    unit = clean(data.unit, 40)
    length = bin_length(data.interval)
    return {
        "title": title,
        "as_of": moment(data.as_of, "1m", data.zone),
        "zone": data.zone,
        "interval": data.interval,
        "unit": f"Values are {unit} a bin." if unit else "Values are sums of a bin.",
        "refresh_s": min(int(length.total_seconds()), LONGEST_REFRESH_S),
    }


def _named(name: Any) -> str:
    return clean(str(name), 80) or "(without a name)"


def _places(rows: pd.DataFrame) -> Mapping[Any, Any]:
    return rows.groupby("series", sort=False).indices


def _is_alarm(rows: pd.DataFrame) -> pd.Series:
    return (rows["level"] >= ALARM) & rows["actual"].notna()


def _ordered(rows: pd.DataFrame) -> pd.DataFrame:
    """Every series: those with an alarm in the last closed bin first, then the largest."""
    closed = rows[rows["actual"].notna()]
    last = closed.groupby("series", sort=False).tail(1).set_index("series")[["level", "p"]]
    mean = rows.groupby("series", sort=False)["actual"].mean()
    found = pd.DataFrame({"size": mean}).join(last).reset_index()
    level = found["level"].fillna(0).astype(int)
    found = found.assign(alarm=level.where(level >= ALARM, 0))
    # How rare a bin was orders alarms alone.
    found = found.assign(rarity=found["p"].where(found["alarm"] > 0))
    order = ["alarm", "rarity", "size", "series"]
    return found.sort_values(order, ascending=[False, True, False, True], kind="stable")


def _tiles(
    data: BandPage, series: pd.DataFrame, n_alarms: int, weeks: float
) -> list[tuple[str, str]]:
    n_now = int((series["alarm"] > 0).sum())
    tiles = [(f"{len(series):,}", "series"), (f"{n_now:,}", "with an alarm in the last bin")]
    n_open = int(data.realised["n_open"].sum()) if len(data.realised) else 0
    if n_open:
        n_inside = n_open - int(data.realised["n_outside"].sum())
        stated = float((data.realised["stated"] * data.realised["n_open"]).sum()) / n_open
        tiles += [
            (_share(stated), "of open bins should lie inside"),
            (_share(n_inside / n_open), f"did, {n_inside:,} of {n_open:,}"),
        ]
    if weeks:
        tiles.append((_rate(n_alarms / weeks), "alarms a week, all series"))
    return tiles


def _share(value: float) -> str:
    """A coverage in percent: never 100 % of what is not whole."""
    if not math.isfinite(value):
        return UNKNOWN
    return "100 %" if value == 1 else f"{min(100 * value, 99.99):.2f} %"


def _rate(value: float) -> str:
    return f"{value:,.1f}" if value >= 0.1 or value == 0 else f"{value:.2f}"


def _weeks(rows: pd.DataFrame) -> float:
    """How long the closed bins of the rows reach."""
    closed = rows[rows["actual"].notna()]
    return float((closed["ends_at"].max() - closed["ts"].min()) / WEEK) if len(closed) else 0.0


def _row(rows: pd.DataFrame, data: BandPage) -> dict[str, Any]:
    """A line of the table: the last closed bin of a series, and what comes next."""
    closed, coming = _split(rows)
    last = closed.iloc[-1].to_dict() if len(closed) else {}
    now = last or coming.iloc[0].to_dict()
    under_way = coming[coming["nowcast"].notna()]
    level = number(last.get("level"))
    return {
        "series": _named(now["series"]),
        "standing": str(now["standing"]),
        "bin": _when(last["ts"], data) if last else UNKNOWN,
        **_judged(last),
        "level": "" if math.isnan(level) else level_word(int(level)),
        "is_alarm": level >= ALARM,
        "next": [
            {"when": _time(row["ts"], data), "said": _expected(row)}
            for row in coming.head(N_NEXT).to_dict("records")
        ],
        "nowcast": _amount(under_way["nowcast"].iloc[0]) if len(under_way) else "",
    }


def _split(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Up to the last bin whose value is known, and those after it."""
    known = rows["actual"].notna().to_numpy().nonzero()[0]
    at = int(known[-1]) + 1 if len(known) else 0
    return rows.iloc[:at], rows.iloc[at:]


def _judged(row: Mapping[Any, Any]) -> dict[str, str]:
    """What came, what was expected, and how far apart they lie; empty where that is not known."""
    actual, expected = number(row.get("actual")), number(row.get("expected"))
    gap = actual - expected
    return {
        "actual": _amount(actual),
        "expected": _amount(expected),
        "band": _band(row),
        "difference": ("+" if gap > 0 else "") + _amount(gap),
        "percent": _percent(gap / abs(expected)) if expected else "",
    }


def _amount(value: float) -> str:
    """A value as a person reads it; in powers of ten where it would have too many digits."""
    value, size = number(value), abs(number(value))
    if math.isnan(value):
        return ""
    if size >= 1e15 or 0 < size < 1e-6:
        return f"{value:.3g}"
    if 1 <= size < 10_000:
        return f"{value:,.2f}"
    return price(value) if value else "0"


def _percent(fraction: float) -> str:
    if math.isnan(fraction):
        return ""
    return percent(fraction, sign=True) if abs(fraction) < 1_000 else "over 100,000 %"


def _band(row: Mapping[Any, Any]) -> str:
    lower, upper = number(row.get("lower")), number(row.get("upper"))
    is_told = not (math.isnan(lower) or math.isnan(upper))
    return f"{_amount(lower)} to {_amount(upper)}" if is_told else "none"


def _expected(row: Mapping[Any, Any]) -> str:
    band = _band(row)
    if band == "none":
        return f"no band ({row['standing']})"
    return f"{_amount(row['expected'])} ({band})"


def _when(ts: Any, data: BandPage) -> str:
    """A bin's start on the operator's clock, whose zone is named once."""
    return moment(ts, data.interval, data.zone).removesuffix(f" {data.zone}")


def _time(ts: Any, data: BandPage) -> str:
    """The time of day of a bin that comes; its date where bins are days."""
    return _when(ts, data).partition(" ")[2] or _when(ts, data)


def _card(rows: pd.DataFrame, data: BandPage) -> dict[str, Any]:
    # matplotlib takes half a second to import, and a page without series needs none.
    from components.band_charts import band_png

    name = rows["series"].iloc[-1]
    title = f"{_named(data.data_set)}, {_named(name)}"
    drawn = data.pictures.get(name) or band_png(rows, title=title, unit=data.unit, zone=data.zone)
    return {**_row(rows, data), "picture": _data_uri(drawn)}


def _data_uri(png: bytes) -> Markup:
    # Base64 of bytes made here holds nothing that needs escaping.
    return Markup("data:image/png;base64," + base64.b64encode(png).decode())  # noqa: S704


def _bin(row: Mapping[Any, Any], data: BandPage) -> dict[str, Any]:
    level = number(row["level"])
    told = math.isfinite(number(row["actual"]))
    return {
        "when": _when(row["ts"], data),
        **_judged(row),
        "actual": _amount(row["actual"]) if told else _so_far(row),
        "level": level_word(int(level)) if level > 0 else "",
        "standing": str(row["standing"]),
        "is_alarm": told and level >= ALARM,
        "is_coming": not told,
    }


def _so_far(row: Mapping[Any, Any]) -> str:
    so_far, nowcast = number(row["so_far"]), number(row["nowcast"])
    said = "" if math.isnan(so_far) else f"{_amount(so_far)} so far"
    return said if math.isnan(nowcast) else f"{said}, points to {_amount(nowcast)}".lstrip(", ")


def _coverage(realised: pd.DataFrame, alarms: pd.Series, weeks: float) -> Sequence[dict[str, Any]]:
    """Stated and realised coverage by series, the worst kept first."""
    if realised.empty:
        return []
    inside = 1 - realised["n_outside"] / realised["n_open"].where(realised["n_open"] > 0)
    found = realised.assign(inside=inside, over=inside - realised["stated"])
    found = found.sort_values(["over", "series"], kind="stable").head(MAX_ROWS)
    return [
        {
            "series": _named(row["series"]),
            "n_open": f"{row['n_open']:,.0f}",
            "n_outside": f"{row['n_outside']:,.0f}",
            "stated": _share(row["stated"]),
            "realised": _share(row["inside"]),
            "alarms": _rate(float(alarms.get(row["series"], 0)) / weeks) if weeks else UNKNOWN,
        }
        for row in found.to_dict("records")
    ]
