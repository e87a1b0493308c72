"""Hours and days made of shorter bars, kept up to date by every load, in its transaction.

Rows that were all new are summed here and added to what is stored. Where a bar was corrected,
the hours that it touched are computed anew from the latest versions, and their days from hours.
"""

from typing import Any

import numpy as np
import pyarrow as pa
from psycopg2 import sql as pg

from components.tables import DAILY, HOURLY, INTRADAY, Table
from components.warehouse import sql
from components.warehouse.copying import copy_in

MADE = pg.Identifier("pg_temp", "made")

HOUR_US, DAY_US = 3_600_000_000, 86_400_000_000

MERGED = """
INSERT INTO {table} AS kept ({columns}) SELECT {columns} FROM {made}
ON CONFLICT (symbol, "interval", ts) DO UPDATE SET
    open = CASE WHEN excluded.first_ts < kept.first_ts THEN excluded.open ELSE kept.open END,
    high = greatest(kept.high, excluded.high), low = least(kept.low, excluded.low),
    close = CASE WHEN excluded.last_ts > kept.last_ts THEN excluded.close ELSE kept.close END,
    volume = coalesce(kept.volume + excluded.volume, kept.volume, excluded.volume),
    n_bars = kept.n_bars + excluded.n_bars,
    first_ts = least(kept.first_ts, excluded.first_ts),
    last_ts = greatest(kept.last_ts, excluded.last_ts),
    known_at = greatest(kept.known_at, excluded.known_at)
"""

ANEW = """
INSERT INTO {table} ({columns})
SELECT touched.symbol, touched."interval", touched.ts, made.* FROM (
    SELECT DISTINCT symbol, "interval", date_trunc({unit}, ts, 'UTC') AS ts FROM {touched}
) AS touched, LATERAL ({made}) AS made WHERE made.n_bars > 0
ON CONFLICT (symbol, "interval", ts) DO UPDATE SET
    ({values}) = ROW ({new_values})
"""

HOURS = """
SELECT (array_agg(open ORDER BY ts))[1] AS open, max(high) AS high, min(low) AS low,
    (array_agg(close ORDER BY ts DESC))[1] AS close, sum(volume ORDER BY ts) AS volume,
    count(*) AS n_bars, min(ts) AS first_ts, max(ts) AS last_ts, max(known_at) AS known_at
FROM (
    SELECT DISTINCT ON (bar.ts) bar.* FROM {bars} AS bar
    WHERE bar.symbol = touched.symbol AND bar."interval" = touched."interval"
    AND bar.ts >= touched.ts AND bar.ts < touched.ts + interval '1 hour'
    ORDER BY bar.ts DESC, bar.known_at DESC
) AS latest
"""

DAYS = """
SELECT (array_agg(open ORDER BY ts))[1] AS open, max(high) AS high, min(low) AS low,
    (array_agg(close ORDER BY ts DESC))[1] AS close, sum(volume ORDER BY ts) AS volume,
    sum(n_bars)::bigint AS n_bars, min(first_ts) AS first_ts, max(last_ts) AS last_ts,
    max(known_at) AS known_at
FROM candles_hourly AS bar
WHERE bar.symbol = touched.symbol AND bar."interval" = touched."interval"
AND bar.ts >= touched.ts AND bar.ts < touched.ts + interval '1 day'
"""


def add(cursor: Any, rows: pa.Table) -> None:
    """Add bars, none of which was stored before, to their hours and days."""
    for table, width_us in ((HOURLY, HOUR_US), (DAILY, DAY_US)):
        made = summed(rows, width_us)
        cursor.execute(sql.create_staged(table, MADE))
        copy_in(cursor, MADE, made)
        cursor.execute(
            pg.SQL(MERGED).format(
                table=pg.Identifier(table.name), columns=sql.names(table.columns), made=MADE
            )
        )
        cursor.execute(pg.SQL("DROP TABLE {}").format(MADE))


def anew(cursor: Any, leaf: Table, touched: pg.Composable) -> None:
    """Compute the hours and days of the bars named in ``touched`` (symbol, interval, ts)."""
    hours = pg.SQL(HOURS).format(bars=pg.Identifier(leaf.name))
    for table, unit, made in ((HOURLY, "hour", hours), (DAILY, "day", pg.SQL(DAYS))):
        cursor.execute(
            pg.SQL(ANEW).format(
                table=pg.Identifier(table.name),
                columns=sql.names([*table.key, *table.values]),
                unit=pg.Literal(unit),
                touched=touched,
                made=made,
                values=sql.names(table.values),
                new_values=sql.names(table.values, of="excluded"),
            )
        )


def summed(rows: pa.Table, width_us: int) -> pa.Table:
    """Make the bars of ``width_us`` microseconds out of distinct bars in the order of the key."""
    ts = rows["ts"].cast(pa.int64()).to_numpy()
    start = ts - ts % width_us
    begins = np.concatenate(([True], start[1:] != start[:-1]))
    for name in sql.instrument(INTRADAY):
        codes = rows[name].combine_chunks().dictionary_encode().indices.to_numpy()
        begins[1:] |= codes[1:] != codes[:-1]
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(ts)) - 1
    volume = _numbers(rows, "volume")
    has_volume = np.logical_or.reduceat(~np.isnan(volume), first)
    total = np.add.reduceat(np.nan_to_num(volume, nan=0.0), first)
    picked = rows.select(list(sql.instrument(INTRADAY))).take(first)
    numbers = {
        "open": _numbers(rows, "open")[first],
        "high": np.fmax.reduceat(_numbers(rows, "high"), first),
        "low": np.fmin.reduceat(_numbers(rows, "low"), first),
        "close": _numbers(rows, "close")[last],
        "volume": np.where(has_volume, total, np.nan),
    }
    arrays: dict[str, Any] = {name: picked[name] for name in picked.column_names}
    arrays["ts"] = _times(start[first])
    arrays |= {name: pa.array(values, from_pandas=True) for name, values in numbers.items()}
    arrays["n_bars"] = pa.array(last - first + 1)
    arrays["first_ts"], arrays["last_ts"] = _times(ts[first]), _times(ts[last])
    known_at = rows["known_at"].cast(pa.int64()).to_numpy()
    arrays["known_at"] = _times(np.maximum.reduceat(known_at, first))
    return pa.table(arrays)


def _numbers(rows: pa.Table, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    column: np.ndarray[Any, np.dtype[np.float64]] = rows[name].to_numpy()
    return column


def _times(instants_us: np.ndarray[Any, np.dtype[np.int64]]) -> pa.Array:
    return pa.array(instants_us).cast(pa.timestamp("us", "UTC"))
