"""A role of the database that may read what is stored, all but keys, and do nothing else."""

from typing import Any

from psycopg2 import sql as pg

from components.tables import API_KEYS
from components.warehouse import Warehouse

ROLE = "tremor_reader"

# So many questions are worked at, at once.
CONNECTIONS = 4

# What anybody may call by default, and who only reads must not: locks that keep runs away,
# messages, large objects, words written to the server's log of changes.
CALLABLE = (
    r"^pg_(try_)?advisory_|^pg_notify$|^pg_export_snapshot$|^pg_logical_emit|^lo_|^lo(read|write)"
)

FUNCTIONS = """
SELECT p.oid::regprocedure::text FROM pg_proc p
WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname ~ %s
  AND has_function_privilege('public', p.oid, 'EXECUTE')
"""

RELATIONS = """
SELECT c.relname FROM pg_class c
WHERE c.relnamespace = %(schema)s::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND NOT c.relispartition AND c.relname <> %(keys)s
  AND NOT has_table_privilege(%(role)s, c.oid, 'SELECT')
"""

# Bounds that its sessions begin with; the room on disk is one that no session can widen.
SESSION = {
    "default_transaction_read_only": "on",
    "statement_timeout": "10s",
    "idle_in_transaction_session_timeout": "30s",
    "temp_file_limit": "512MB",
    "work_mem": "32MB",
    "max_parallel_workers_per_gather": "0",
}


def make(warehouse: Warehouse) -> str:
    """Make the role where it is not there, give it what it may read, and name it.

    It has no password: this is for a server that only its owner can reach.

    Raises
    ------
    WarehouseError
        This connection may not make roles.
    """
    with warehouse.transaction() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [ROLE])
        _make_role(cursor)
        _grant(cursor, warehouse.schema)
    return ROLE


def _make_role(cursor: Any) -> None:
    role = pg.Identifier(ROLE)
    cursor.execute("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)", [ROLE])
    if not cursor.fetchone()[0]:
        cursor.execute(
            pg.SQL(
                "CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOREPLICATION "
                "NOBYPASSRLS CONNECTION LIMIT {}"
            ).format(role, pg.Literal(CONNECTIONS))
        )
        for name, value in SESSION.items():
            setting = pg.SQL("ALTER ROLE {} SET {} = {}")
            cursor.execute(setting.format(role, pg.Identifier(name), pg.Literal(value)))


def _grant(cursor: Any, schema: str) -> None:
    role, place = pg.Identifier(ROLE), pg.Identifier(schema)
    cursor.execute("SELECT current_database()")
    database = pg.Identifier(cursor.fetchone()[0])
    cursor.execute("SELECT has_database_privilege(%s, current_database(), 'TEMP')", [ROLE])
    if cursor.fetchone()[0]:
        cursor.execute(pg.SQL("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC").format(database))
    cursor.execute(FUNCTIONS, [CALLABLE])
    for (function,) in cursor.fetchall():
        # The server's own way of writing it, quoted where that is needed.
        cursor.execute(pg.SQL("REVOKE EXECUTE ON FUNCTION {} FROM PUBLIC").format(pg.SQL(function)))
    cursor.execute(pg.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(place, role))
    asked = {"schema": schema, "keys": API_KEYS.name, "role": ROLE}
    cursor.execute(RELATIONS, asked)
    for (name,) in cursor.fetchall():
        relation = pg.Identifier(schema, name)
        cursor.execute(pg.SQL("GRANT SELECT ON {} TO {}").format(relation, role))
