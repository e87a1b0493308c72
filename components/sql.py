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

# Each staged row looks up the version in force at its known_at; the key's index answers.
NEW_VERSIONS = """
INSERT INTO {table} ({columns})
SELECT {staged_columns} FROM {staged} AS staged
LEFT JOIN LATERAL (
    SELECT true AS found, {values} FROM {table} AS stored
    WHERE {same_bar} AND stored.known_at <= staged.known_at
    ORDER BY stored.known_at DESC LIMIT 1
) AS old ON true
WHERE old.found IS NULL OR ({staged_values}) IS DISTINCT FROM ({old_values})
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
    return sql.SQL("CREATE TABLE {} ({}, PRIMARY KEY ({}))").format(
        sql.Identifier(table.name), sql.SQL(", ").join(columns), names(table.key)
    )


def create_known_at_index(table: Table) -> sql.Composed:
    """Write a BRIN index: a few pages that say when each stretch of the table became known."""
    return sql.SQL(
        "CREATE INDEX {} ON {} USING brin (known_at) WITH (pages_per_range = 32)"
    ).format(sql.Identifier(known_at_index(table)), sql.Identifier(table.name))


def known_at_index(table: Table) -> str:
    """Name the index on ``known_at``."""
    return f"{table.name}_known_at"


def upsert(table: Table, staged: str) -> sql.Composed:
    """Write the one statement that stores the staged rows which are new or changed."""
    statement = NEW_VERSIONS if table.versioned else NEW_ROWS
    if table.values:
        statement += OR_CHANGED
    else:
        statement += "ON CONFLICT DO NOTHING"
    return sql.SQL(statement).format(
        table=sql.Identifier(table.name),
        staged=sql.Identifier("pg_temp", staged),
        columns=names(table.columns),
        staged_columns=names(table.columns, of="staged"),
        key=names(table.key),
        values=names(table.values),
        staged_values=names(table.values, of="staged"),
        old_values=names(table.values, of="old"),
        stored_values=names(table.values, of=table.name),
        new_values=names(table.values, of="excluded"),
        same_bar=_equal(table.bar_key, "stored", "staged"),
        assignments=sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(name), sql.Identifier("excluded", name))
            for name in table.values
        ),
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
    descending = sql.SQL(", ").join(
        sql.SQL("{} DESC").format(sql.Identifier(table.name, name)) for name in table.bar_key
    )
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
