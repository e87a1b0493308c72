"""Scratch stores: a schema and a lake of their own, of which nothing is left behind.

The schema lives beside the real one in the same database; the lake lives in memory. Each
schema is held by a lock that dies with its process, so the next one knows what a killed
process left, and removes it.
"""

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from components.errors import AnotherRunAtWork, LakeError, WarehouseError, WriteOnceError
from components.lake import Lake
from components.warehouse import Warehouse

log = logging.getLogger(__name__)

PREFIX = "tremor_scratch_"

LEFT = "select nspname::text as name from pg_namespace where nspname ~ '^tremor_scratch_[0-9a-f]+$'"


@contextmanager
def scratch_warehouse(url: str) -> Iterator[Warehouse]:
    """An empty warehouse in a schema of its own, dropped afterwards."""
    remove_leftovers(url)
    with Warehouse(url, PREFIX + secrets.token_hex(6)) as warehouse, warehouse.run_lock():
        try:
            warehouse.migrate()
            # A scratch that a crash of the server tears is thrown away, so nothing waits for
            # the disk.
            warehouse.execute("SET synchronous_commit TO off")
            yield warehouse
        finally:
            _drop(warehouse)


def remove_leftovers(url: str) -> int:
    """Drop the scratch schemas whose process is gone; give their number."""
    with Warehouse(url) as any_schema:
        names = list(any_schema.query(LEFT)["name"])
    n_dropped = 0
    for name in names:
        with Warehouse(url, name) as left:
            try:
                with left.run_lock():
                    n_dropped += _drop(left)
            except AnotherRunAtWork:
                continue
    return n_dropped


def _drop(warehouse: Warehouse) -> bool:
    try:
        warehouse.execute(f'DROP SCHEMA IF EXISTS "{warehouse.schema}" CASCADE')
    except WarehouseError as error:
        # Whatever happened to the server, the next start removes it.
        log.warning("%s", error)
        return False
    return True


def scratch_lake() -> Lake:
    """An empty lake in memory."""
    lake = Lake("memory")
    lake.objects = Memory()
    return lake


class Memory:
    """Objects that live as long as the process."""

    def __init__(self) -> None:
        self._bodies: dict[str, bytes] = {}

    def put(self, key: str, body: bytes) -> None:
        """Keep a body; see ``Objects``."""
        self._bodies[key] = body

    def put_once(self, key: str, body: bytes) -> None:
        """Keep a body that never changes; see ``Objects``."""
        if self._bodies.setdefault(key, body) != body:
            raise WriteOnceError(f"memory: {key} exists with other bytes.")

    def get(self, key: str) -> bytes:
        """The body; see ``Objects``."""
        if key not in self._bodies:
            raise LakeError(f"memory: there is no {key}.")
        return self._bodies[key]

    def exists(self, key: str) -> bool:
        """Whether there is such a body."""
        return key in self._bodies

    def list(self, prefix: str) -> list[str]:
        """The keys that begin with ``prefix``, sorted."""
        return sorted(key for key in self._bodies if key.startswith(prefix))

    def delete(self, key: str) -> None:
        """Forget a body; an absent one is fine."""
        self._bodies.pop(key, None)
