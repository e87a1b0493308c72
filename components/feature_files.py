"""Features as Parquet files, for readers that know nothing of this program.

features/version={version}/interval={interval}/month={yyyy-mm}/every.{hash}.parquet
features/version={version}/interval={interval}/month={yyyy-mm}/{symbol}.{hash}.parquet

The second where bars are shorter than a day. What a folder's name says is no column of its
files, as readers of such folders expect. All versions of a row are kept, in the order of the key.
"""

import hashlib
from dataclasses import replace
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from components.errors import LakeError
from components.objects import Objects, segment
from components.rows import ARROW_TYPES, is_intraday, merged, prepared
from components.tables import FEATURE_VALUES

FOLDERS = ("version", "interval")
IN_FILES = replace(
    FEATURE_VALUES,
    columns={n: kind for n, kind in FEATURE_VALUES.columns.items() if n not in FOLDERS},
    key=tuple(name for name in FEATURE_VALUES.key if name not in FOLDERS),
)
NONE = pa.schema({name: ARROW_TYPES[kind] for name, kind in IN_FILES.columns.items()}).empty_table()

# Texts and instants that repeat.
REPEATING = ["symbol", "closes_at", "known_at"]


def put(objects: Objects, rows: pd.DataFrame) -> int:
    """Merge rows into the files of their months; give how many files changed.

    It may be killed at any instant and repeated: the new file is whole before the old one goes,
    and the bytes of the same rows are the same.
    """
    ready = prepared(rows, FEATURE_VALUES)
    places = pd.DataFrame({name: ready[name].to_pandas() for name in (*FOLDERS, "symbol", "ts")})
    places["month"] = places.pop("ts").dt.strftime("%Y-%m")
    is_short = places["interval"].map({i: is_intraday(i) for i in places["interval"].unique()})
    names = {symbol: _file_name(symbol) for symbol in places["symbol"].unique()}
    places["name"] = places.pop("symbol").map(names).where(is_short, "every")
    found: dict[Any, Any] = places.groupby(list(places.columns), sort=True).indices
    n_changed = 0
    for (version, interval, month, name), at in found.items():
        place = f"{folder(version, interval)}/month={month}"
        n_changed += _put(objects, place, name, ready.take(at).drop_columns(list(FOLDERS)))
    return n_changed


def folder(version: str, interval: str) -> str:
    """Where the files of all months lie."""
    return f"features/version={segment(version)}/interval={segment(interval)}"


def _file_name(symbol: str) -> str:
    # Readers of folders take "a=b" for a column, in a file's name too.
    return segment(symbol).replace("=", "%3D")


def _put(objects: Objects, place: str, name: str, fresh: pa.Table) -> int:
    keys = [key for key in objects.list(f"{place}/{name}.") if _name_in(key) == name]
    stored = pa.concat_tables([NONE, *(_read(objects, k) for k in keys)], promote_options="default")
    rows = merged(stored, fresh, IN_FILES)
    if len(keys) == 1 and rows.equals(stored):
        return 0
    sink = pa.BufferOutputStream()
    pq.write_table(rows.combine_chunks(), sink, compression="zstd", use_dictionary=REPEATING)
    body = sink.getvalue().to_pybytes()
    made = f"{place}/{name}.{hashlib.sha256(body).hexdigest()[:16]}.parquet"
    objects.put_once(made, body)
    for key in keys:
        if key != made:
            objects.delete(key)
    return 1


def _name_in(key: str) -> str:
    return key.rpartition("/")[2].rsplit(".", 2)[0]


def _read(objects: Objects, key: str) -> pa.Table:
    try:
        return pq.read_table(pa.BufferReader(objects.get(key)))
    except pa.ArrowInvalid as error:
        raise LakeError(
            f"lake: {key} is no readable Parquet. Delete it and run `features` for its month again."
        ) from error
