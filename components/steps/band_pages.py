"""Bands to look at: a page and a table of each data set, a page and a picture of each series."""

import re
import unicodedata

import pandas as pd

from components import band_export, band_page
from components.band_page import BandPage
from components.incidents import digest
from components.steps.parts import Parts
from components.steps.realised import banded

# What pages and pictures show.
SHOWN = pd.Timedelta(days=14)


ROWS = """
with judged as (
    select distinct on (series, ts) series, ts, ends_at, actual, expected, lower, upper, p, level,
        standing
    from bands
    where data_set = %(data_set)s and "interval" = %(interval)s
      and ts > %(since)s and ts < %(until)s and known_at <= %(as_of)s
    order by series, ts, known_at desc
)
select *, null::float8 as so_far, null::float8 as nowcast from judged
union all
select series, ts, ends_at, null, expected, lower, upper, null, null, standing, so_far, nowcast
from forecasts f
where data_set = %(data_set)s and "interval" = %(interval)s and ts < %(until)s
  and ts > coalesce((select max(ts) from judged), %(since)s)
order by series, ts
"""


def show_bands(parts: Parts) -> None:
    """Write the pages anew; the run's counts say of how many series."""
    if parts.is_dry:
        return
    realised, as_of = banded(parts), parts.run.as_of
    for data_set in parts.watch.symbols:
        rows = rows_of(parts, data_set)
        if rows.empty:
            continue
        own = realised[realised["data_set"] == data_set].drop(columns="data_set")
        pictures = _put_series(parts, data_set, rows)
        page = BandPage(
            data_set,
            as_of,
            parts.watch.zone,
            parts.watch.unit,
            parts.watch.interval,
            rows,
            own.assign(stated=parts.watch.coverage),
            pictures,
        )
        body = band_page.page(page).encode()
        parts.run.pages.append(parts.lake.put_payments(data_set, "index.html", body))
        table = band_export.csv_bytes(rows, zone=parts.watch.zone)
        parts.lake.put_payments(data_set, "band.csv", table)


def rows_of(
    parts: Parts,
    data_set: str,
    since: pd.Timestamp | None = None,
    until: pd.Timestamp | None = None,
) -> pd.DataFrame:
    """The judged bins of a data set's series from ``since`` on, and those that come.

    Without ``since`` the two weeks before its last bin.
    """
    as_of = parts.run.as_of
    asked = {"data_set": data_set, "interval": parts.watch.interval, "as_of": as_of.to_pydatetime()}
    last = parts.warehouse.query(
        'select max(ts) as ts from bands where data_set = %(data_set)s and "interval" = '
        "%(interval)s and known_at <= %(as_of)s",
        asked,
    )["ts"].iloc[0]
    if pd.isna(last):
        since = since or as_of
    span = {
        "since": (pd.Timestamp(last) - SHOWN if since is None else since).to_pydatetime(),
        "until": (as_of + pd.Timedelta(days=366) if until is None else until).to_pydatetime(),
    }
    return parts.warehouse.query(ROWS, {**asked, **span})


def _put_series(parts: Parts, data_set: str, rows: pd.DataFrame) -> dict[str, bytes]:
    """Write a page and a picture of each of the first series; give the pictures."""
    # matplotlib takes half a second to import, and a data set without series needs none.
    from components.band_charts import band_png

    zone, unit, pictures = parts.watch.zone, parts.watch.unit, dict[str, bytes]()
    first = set(band_page.first_series(rows))
    for name, own in rows[rows["series"].isin(first)].groupby("series", sort=False):
        series = str(name)
        png = band_png(own, title=f"{data_set}, {series}", unit=unit, zone=zone)
        pictures[series] = png
        page = band_page.series_page(
            own,
            data_set=data_set,
            as_of=parts.run.as_of,
            zone=zone,
            unit=unit,
            interval=parts.watch.interval,
            pictures={series: png},
        )
        stem = f"series/{file_name(series)}"
        parts.lake.put_payments(data_set, f"{stem}.html", page.encode())
        parts.lake.put_payments(data_set, f"{stem}.png", png)
    return pictures


def file_name(series: str) -> str:
    """A name for files: letters, digits, and a digest of whatever else the name holds."""
    plain = unicodedata.normalize("NFKD", series).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^A-Za-z0-9]+", "_", plain).strip("_")[:60]
    return plain if plain == series else f"{plain or 'series'}-{digest(series)}"
