"""The warehouse's structure in numbered steps, forward only.

Version 1 makes every table as ``tables.py`` describes it today, so a later step meets
databases that have its change already: write ``ADD COLUMN IF NOT EXISTS`` and the like.
"""

from typing import Any

from components.errors import WarehouseError
from components.tables import (
    API_KEYS,
    BANDS,
    CANDLES,
    CHANNELS,
    CONTRIBUTIONS,
    DRIFT,
    FEATURE_VALUES,
    FORECASTS,
    INCIDENTS,
    LABELS,
    LIVE,
    MARKET,
    MEASURES,
    SILENT,
    TABLES,
    TRIALS,
    VERDICTS,
)
from components.warehouse import intraday, sql

VIEWS = """
CREATE VIEW candles_latest AS
    SELECT DISTINCT ON (symbol, "interval", ts) * FROM candles
    ORDER BY symbol DESC, "interval" DESC, ts DESC, known_at DESC;

CREATE VIEW open_alerts AS
    SELECT * FROM alerts WHERE NOT EXISTS (
        SELECT FROM labels
        WHERE labels.alert_id = alerts.id
        AND (action IN ('acknowledge', 'label') OR (action = 'snooze' AND until > now()))
    );

CREATE VIEW freshness AS
    SELECT symbol, "interval", min(ts) AS first_ts, max(ts) AS last_ts, count(*) AS n_bars,
        max(known_at) AS known_at
    FROM candles_latest GROUP BY symbol, "interval";
"""


# What a business tool reads: each closed bin with its verdict, then the bins that come.
PAYMENT_BAND = """
CREATE OR REPLACE VIEW payment_band AS
    WITH judged AS (
        SELECT DISTINCT ON (data_set, series, "interval", ts) * FROM bands
        ORDER BY data_set, series, "interval", ts, known_at DESC
    )
    SELECT data_set, series, "interval", ts AS bin_start, ends_at AS bin_end, actual, expected,
        lower, upper,
        CASE WHEN actual = 'NaN' OR lower IS NULL OR lower = 'NaN' THEN NULL
             ELSE actual BETWEEN lower AND upper END AS in_band,
        CASE level WHEN 3 THEN 'HIGH' WHEN 2 THEN 'MEDIUM' WHEN 1 THEN 'LOW' ELSE '' END
            AS alarm_level,
        standing, NULL::double precision AS so_far, NULL::double precision AS nowcast, known_at
    FROM judged
    UNION ALL
    SELECT data_set, series, "interval", ts, ends_at, NULL, expected, lower, upper, NULL, '',
        standing, so_far, nowcast, known_at
    FROM forecasts f WHERE NOT EXISTS (
        SELECT FROM bands b
        WHERE (b.data_set, b.series, b."interval", b.ts)
            = (f.data_set, f.series, f."interval", f.ts)
    );
"""


def _tables_and_views(cursor: Any) -> None:
    for table in TABLES:
        cursor.execute(sql.create(table))
        if table.versioned:
            cursor.execute(sql.create_known_at_index(table))
    cursor.execute("CREATE INDEX incidents_alert ON incidents (alert_id, symbol)")
    cursor.execute(VIEWS)


def _banded(cursor: Any) -> None:
    """Bands of payment volumes, the bins that come, trials of forecasters; their view."""
    for table in (BANDS, FORECASTS, SILENT, TRIALS):
        cursor.execute(sql.create(table))
    cursor.execute(sql.create_known_at_index(BANDS))
    cursor.execute(sql.create_known_at_index(SILENT))
    cursor.execute('CREATE INDEX IF NOT EXISTS measures_ts ON measures (data_set, "interval", ts)')
    cursor.execute('CREATE INDEX IF NOT EXISTS bands_ts ON bands (data_set, "interval", ts)')
    cursor.execute(PAYMENT_BAND)


def _judged_by_votes(cursor: Any) -> None:
    """Levels, states, the market's part; channels; incidents of several bars."""
    for table in (CHANNELS, VERDICTS, MARKET, INCIDENTS):
        cursor.execute(sql.create(table))
        cursor.execute(sql.add_columns(table))
    cursor.execute(sql.create_known_at_index(CHANNELS))


def _measured(cursor: Any) -> None:
    """Measures; bars of extended hours are marked."""
    cursor.execute(sql.create(MEASURES))
    cursor.execute(sql.create_known_at_index(MEASURES))
    cursor.execute(sql.add_columns(CANDLES))


def _minutes(cursor: Any) -> None:
    """Bars shorter than a day get a table of their own; the views cover both."""
    intraday.create(cursor)


def _features(cursor: Any) -> None:
    """Features; the market's volume."""
    cursor.execute(sql.add_columns(MARKET))
    cursor.execute(sql.create(FEATURE_VALUES))
    cursor.execute(sql.create_known_at_index(FEATURE_VALUES))


def _trained(cursor: Any) -> None:
    """What trained models say: contributions of features, drift."""
    cursor.execute(sql.create(CONTRIBUTIONS))
    cursor.execute(sql.create_known_at_index(CONTRIBUTIONS))
    cursor.execute(sql.create(DRIFT))


def _streamed(cursor: Any) -> None:
    """What a stream knows just now."""
    cursor.execute(sql.create(LIVE))


def _placed(cursor: Any) -> None:
    """Verdicts name the parameters of their views; older ones had none, which is no change."""
    column = sql.TYPES[VERDICTS.columns["parameters"]]
    cursor.execute(f"ALTER TABLE verdicts ADD COLUMN IF NOT EXISTS parameters {column} DEFAULT ''")
    # Of a new row the program says it; the stored ones keep the default without being written.
    cursor.execute("ALTER TABLE verdicts ALTER COLUMN parameters DROP DEFAULT")


def _served(cursor: Any) -> None:
    """Keys of the API; who said it; what pages of alerts and runs are found by."""
    cursor.execute(sql.create(API_KEYS))
    cursor.execute(sql.add_columns(LABELS))
    cursor.execute("CREATE INDEX IF NOT EXISTS alerts_known_at ON alerts (known_at DESC, id DESC)")
    cursor.execute("CREATE INDEX IF NOT EXISTS runs_started_at ON runs (started_at DESC, id DESC)")
    cursor.execute("CREATE INDEX IF NOT EXISTS incidents_of ON incidents (incident)")


MIGRATIONS = (
    _tables_and_views,
    _judged_by_votes,
    _measured,
    _minutes,
    _features,
    _trained,
    _streamed,
    _placed,
    _banded,
    _served,
)


def step(cursor: Any, schema: str) -> bool:
    """Take the next step inside the open transaction; False when there is none left.

    Raises
    ------
    WarehouseError
        The database was made by a newer program.
    """
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"migrate {schema}"])
    version = _version(cursor, schema)
    if version > len(MIGRATIONS):
        raise WarehouseError(
            f"warehouse schema {schema!r} has version {version}, this program knows "
            f"{len(MIGRATIONS)}: it was used by a newer release. Upgrade the program."
        )
    if version == len(MIGRATIONS):
        _add_new_features(cursor)
        return False
    MIGRATIONS[version](cursor)
    cursor.execute("INSERT INTO schema_version (version) VALUES (%s)", [version + 1])
    return True


def versions(cursor: Any, schema: str) -> tuple[int, int]:
    """The version that the schema has, 0 when it is not made, and the one that this program makes.

    Nothing is changed.
    """
    cursor.execute(
        "SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = %s AND tablename = %s)",
        [schema, "schema_version"],
    )
    if not cursor.fetchone()[0]:
        return 0, len(MIGRATIONS)
    cursor.execute("SELECT coalesce(max(version), 0) FROM schema_version")
    return int(cursor.fetchone()[0]), len(MIGRATIONS)


def _add_new_features(cursor: Any) -> None:
    """Give the stored features the columns of what came to the registry since."""
    cursor.execute(
        "SELECT count(*) FROM pg_attribute WHERE attrelid = to_regclass('features') "
        "AND attname = ANY(%s)",
        [list(FEATURE_VALUES.columns)],
    )
    if cursor.fetchone()[0] < len(FEATURE_VALUES.columns):
        cursor.execute(sql.add_columns(FEATURE_VALUES))


def _version(cursor: Any, schema: str) -> int:
    cursor.execute("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = %s)", [schema])
    if not cursor.fetchone()[0]:
        cursor.execute(sql.create_schema(schema))
    cursor.execute(
        "CREATE TABLE IF NOT EXISTS schema_version "
        "(version bigint PRIMARY KEY, made_at timestamptz NOT NULL DEFAULT now())"
    )
    cursor.execute("SELECT coalesce(max(version), 0) FROM schema_version")
    return int(cursor.fetchone()[0])
