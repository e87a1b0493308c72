"""The SQL of a table, made from its description: identifiers quoted, values left as parameters."""

from collections.abc import Iterable

from psycopg2 import sql

from components.tables import Table

# Text is ordered by its bytes: the same everywhere, and comparing it is fast.
TYPES = {
    "text": 'text COLLATE "C"',
    "timestamp": "timestamptz",
    "float": "double precision",
    "int": "bigint",
    "json": "jsonb",
}

# The version in force at the staged row's known_at, looked up in the key's index.
LOOKED_UP = """
LEFT JOIN LATERAL (
    SELECT true AS found, {values} FROM {table} AS stored
    WHERE {same_bar} AND stored.known_at <= staged.known_at
    ORDER BY stored.known_at DESC LIMIT 1
) AS old ON true
"""

# The same for staged rows that share one known_at: each instrument's span is read once.
JOINED = """
LEFT JOIN (
    SELECT true AS found, stored.* FROM {spans} AS span, LATERAL (
        SELECT DISTINCT ON ({within}) * FROM {table} AS stored
        WHERE {same_instrument} AND stored.ts BETWEEN span.first_ts AND span.last_ts
        AND stored.known_at <= (SELECT known_at FROM {staged} LIMIT 1)
        ORDER BY {within_descending}, stored.known_at DESC
    ) AS stored
) AS old ON {same_old_bar}
"""

NEW_VERSIONS = """
INSERT INTO {table} ({columns})
SELECT {staged_columns} FROM {staged} AS staged %s
WHERE old.found IS NULL OR ({staged_values}) IS DISTINCT FROM ({old_values})
"""

ANY_IN_SPANS = """
SELECT EXISTS (
    SELECT FROM {spans} AS span, LATERAL (
        SELECT FROM {table} AS stored
        WHERE {same_instrument} AND stored.ts BETWEEN span.first_ts AND span.last_ts LIMIT 1
    ) AS stored
)
"""

NOTING = """
WITH stored AS ({upsert} RETURNING {noted}),
noted AS (INSERT INTO {touched} SELECT * FROM stored)
SELECT count(*) FROM stored
"""

NEW_ROWS = "INSERT INTO {table} ({columns}) SELECT {columns} FROM {staged}"

OR_CHANGED = """
ON CONFLICT ({key}) DO UPDATE SET {assignments}
WHERE ({stored_values}) IS DISTINCT FROM ({new_values})
"""

# In descending order the key's index gives each bar's latest version first.
LATEST = """
SELECT DISTINCT ON ({bar_key}) {picked} FROM {source} WHERE {conditions}
ORDER BY {descending}, known_at DESC
"""


def names(columns: Iterable[str], of: str | None = None) -> sql.Composed:
    """Join quoted column names with commas, each with the table that it is ``of``."""
    parts = [sql.Identifier(name) if of is None else sql.Identifier(of, name) for name in columns]
    return sql.SQL(", ").join(parts)


def create(table: Table) -> sql.Composed:
    """Write the table's definition; the columns outside the key may be NULL."""
    columns = [
        sql.SQL("{} {}{}").format(
            sql.Identifier(name), sql.SQL(TYPES[kind]), sql.SQL(" NOT NULL" * (name in table.key))
        )
        for name, kind in table.columns.items()
    ]
    return sql.SQL("CREATE TABLE IF NOT EXISTS {} ({}, PRIMARY KEY ({}))").format(
        sql.Identifier(table.name), sql.SQL(", ").join(columns), names(table.key)
    )


def add_columns(table: Table) -> sql.Composed:
    """Write the addition of those columns outside the key that the stored table lacks."""
    added = [
        sql.SQL("ADD COLUMN IF NOT EXISTS {} {}").format(sql.Identifier(name), sql.SQL(TYPES[kind]))
        for name, kind in table.columns.items()
        if name not in table.key
    ]
    return sql.SQL("ALTER TABLE {} {}").format(
        sql.Identifier(table.name), sql.SQL(", ").join(added)
    )


def create_known_at_index(table: Table) -> sql.Composed:
    """Write a BRIN index: a few pages that say when each stretch of the table became known."""
    return sql.SQL(
        "CREATE INDEX IF NOT EXISTS {} ON {} USING brin (known_at) WITH (pages_per_range = 32)"
    ).format(sql.Identifier(known_at_index(table)), sql.Identifier(table.name))


def known_at_index(table: Table) -> str:
    """Name the index on ``known_at``."""
    return f"{table.name}_known_at"


def upsert(
    table: Table, staged: sql.Composable, spans: sql.Composable | None = None
) -> sql.Composed:
    """Write the one statement that stores the staged rows which are new or changed."""
    statement = NEW_ROWS
    if table.versioned:
        statement = NEW_VERSIONS % (LOOKED_UP if spans is None else JOINED)
    statement += OR_CHANGED if table.values else "ON CONFLICT DO NOTHING"
    within = [name for name in table.bar_key if name not in instrument(table)]
    return sql.SQL(statement).format(
        table=sql.Identifier(table.name),
        staged=staged,
        spans=spans or staged,
        columns=names(table.columns),
        staged_columns=names(table.columns, of="staged"),
        key=names(table.key),
        values=names(table.values),
        staged_values=names(table.values, of="staged"),
        old_values=names(table.values, of="old"),
        stored_values=names(table.values, of=table.name),
        new_values=names(table.values, of="excluded"),
        same_bar=_equal(table.bar_key, "stored", "staged"),
        same_old_bar=_equal(table.bar_key, "old", "staged"),
        same_instrument=_equal(instrument(table), "stored", "span"),
        within=names(within, of="stored"),
        within_descending=_descending(within, "stored"),
        assignments=sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(name), sql.Identifier("excluded", name))
            for name in table.values
        ),
    )


def noting(upsert: sql.Composed, table: Table, touched: sql.Composable) -> sql.Composed:
    """Write an upsert that notes the bars which it stored, and counts them."""
    return sql.SQL(NOTING).format(
        upsert=upsert, noted=names(table.bar_key, of=table.name), touched=touched
    )


def create_touched(table: Table, name: sql.Composable) -> sql.Composed:
    """Write a temporary table of bars."""
    return sql.SQL("CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT {} FROM {} LIMIT 0").format(
        name, names(table.bar_key), sql.Identifier(table.name)
    )


def instrument(table: Table) -> tuple[str, ...]:
    """Name the key's columns before ``ts``: what a series of bars has in common."""
    return table.key[: table.key.index("ts")] if "ts" in table.key else ()


def create_staged(table: Table, name: sql.Composable) -> sql.Composed:
    """Write a temporary table of the same columns, without any index."""
    return sql.SQL("CREATE TEMP TABLE {} (LIKE {}) ON COMMIT DROP").format(
        name, sql.Identifier(table.name)
    )


def create_spans(table: Table, name: sql.Composable) -> sql.Composed:
    """Write a temporary table of the instruments' first and last ``ts``."""
    return sql.SQL(
        "CREATE TEMP TABLE {} ON COMMIT DROP AS "
        "SELECT {}, ts AS first_ts, ts AS last_ts FROM {} LIMIT 0"
    ).format(name, names(instrument(table)), sql.Identifier(table.name))


def any_in_spans(table: Table, spans: sql.Composable) -> sql.Composed:
    """Write the question whether any stored bar lies in the spans."""
    return sql.SQL(ANY_IN_SPANS).format(
        spans=spans,
        table=sql.Identifier(table.name),
        same_instrument=_equal(instrument(table), "stored", "span"),
    )


def select(
    table: Table,
    columns: Iterable[str],
    conditions: Iterable[sql.Composable],
    source: sql.Composable | None = None,
) -> sql.Composed:
    """Write a read in DESCENDING order of the bar key; of a bar its latest version."""
    picked = [
        sql.SQL("{0} AT TIME ZONE 'UTC' AS {0}").format(sql.Identifier(name))
        if table.columns[name] == "timestamp"
        else sql.Identifier(name)
        for name in columns
    ]
    source = source or sql.Identifier(table.name)
    every = sql.SQL(" AND ").join([sql.SQL("true"), *conditions])
    descending = _descending(table.bar_key, table.name)
    if table.versioned:
        return sql.SQL(LATEST).format(
            bar_key=names(table.bar_key, of=table.name),
            picked=sql.SQL(", ").join(picked),
            source=source,
            conditions=every,
            descending=descending,
        )
    return sql.SQL("SELECT {} FROM {} WHERE {} ORDER BY {}").format(
        sql.SQL(", ").join(picked), source, every, descending
    )


def _equal(columns: Iterable[str], left: str, right: str) -> sql.Composed:
    return sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier(left, name), sql.Identifier(right, name))
        for name in columns
    )


def create_schema(name: str) -> sql.Composed:
    """Write the schema's definition."""
    return sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name))


def _descending(columns: Iterable[str], of: str) -> sql.Composed:
    return sql.SQL(", ").join(
        sql.SQL("{} DESC").format(sql.Identifier(of, name)) for name in columns
    )
