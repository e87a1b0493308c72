"""What Feast joins and materialises from: the lake's Parquet, or the warehouse's table.

A row's event is the close of its bar, and it was created when it became known.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feast import FileSource
from feast.data_format import ParquetFormat
from feast.data_source import DataSource
from psycopg2.extensions import parse_dsn

from components import feature_files
from components.errors import FeatureStoreError
from components.feature_views import CLOSED, KEY, KNOWN, fields
from components.features import VERSION
from components.objects import Folder, Objects, open_objects
from components.tables import FEATURE_VALUES
from components.warehouse import Warehouse
from components.warehouse.connection import normalised

# The instants under names of Feast's own too: its SQL names each column of a row once.
QUERY = """SELECT {columns}, {closed} AS event_timestamp, {known} AS created_timestamp
FROM {table} WHERE "interval" = '{interval}' AND "version" = '{version}'"""

# What Feast writes into the connection's options as it stands. PostgreSQL knows no sizes of what
# Feast lets it join, and would go through it row by row for each row: 50 times as long for 1,200.
SCHEMA = "{schema} -c enable_nestloop=off -c search_path={schema}"


@dataclass(frozen=True)
class Offline:
    """Feast's settings of an offline store, its source, and where that is, without secrets."""

    config: Mapping[str, Any]
    source: DataSource
    shown: str


def lake_files(root: str, interval: str, home: Path, timeout_s: float) -> Offline:
    """The lake's Parquet, in its folder; of a lake on S3 a copy under ``home``.

    Raises
    ------
    FeatureStoreError, LakeError
        Nothing is stored, or the lake cannot be reached.
    """
    objects = open_objects(root, timeout_s)
    folder = feature_files.folder(VERSION, interval)
    if not objects.list(f"{folder}/"):
        raise FeatureStoreError(
            f"lake {root}: no features of {interval} bars are stored. "
            "Run `python main.py features --since 2015-01-01` first."
        )
    place = objects.root if isinstance(objects, Folder) else mirrored(objects, folder, home)
    source = FileSource(
        name=f"lake_{interval}",
        path=str(place.absolute() / folder / "*" / "*.parquet"),
        timestamp_field=CLOSED,
        created_timestamp_column=KNOWN,
        file_format=ParquetFormat(),
    )
    return Offline({"type": "duckdb"}, source, f"{root}/{folder}")


def mirrored(objects: Objects, folder: str, root: Path) -> Path:
    """Bring a folder of a bucket beside; a file's name is its content's, so what is here stays.

    DuckDB would fetch an extension of its own from its makers to read S3.
    """
    here = Folder(root)
    there, held = set(objects.list(f"{folder}/")), set(here.list(f"{folder}/"))
    for key in sorted(there - held):
        here.put(key, objects.get(key))
    for key in held - there:
        here.delete(key)
    return root


def warehouse_table(url: str, interval: str) -> Offline:
    """The warehouse's table, brought up to date.

    Raises
    ------
    SettingsError, WarehouseError
        It cannot be reached, or the role may not.
    """
    from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import (
        PostgreSQLSource,
    )

    with Warehouse(url) as warehouse:
        warehouse.migrate()
        schema, shown = warehouse.schema, warehouse.shown
    source = PostgreSQLSource(
        name=f"warehouse_{interval}",
        query=QUERY.format(
            columns=", ".join(f'"{name}"' for name in (KEY, *fields())),
            closed=CLOSED,
            known=KNOWN,
            table=f"{schema}.{FEATURE_VALUES.name}",
            interval=interval,
            version=VERSION,
        ),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    )
    return Offline(_postgres(url, schema), source, f"{shown}, {schema}.{FEATURE_VALUES.name}")


def _postgres(url: str, schema: str) -> dict[str, Any]:
    parts = parse_dsn(normalised(url))
    names = {"sslkey": "sslkey_path", "sslcert": "sslcert_path", "sslrootcert": "sslrootcert_path"}
    return {
        "type": "postgres",
        "host": parts.get("host", "localhost"),
        "port": int(parts.get("port", "5432")),
        "database": parts.get("dbname", "postgres"),
        "user": parts.get("user", "postgres"),
        "password": parts.get("password", ""),
        "db_schema": SCHEMA.format(schema=schema),
        "sslmode": parts.get("sslmode", "prefer"),
        **{ours: parts[theirs] for theirs, ours in names.items() if theirs in parts},
    }
