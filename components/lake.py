"""The lake: what providers said, what was made of it, what is carried, what runs did.

raw/{source}/bodies/{aa}/{sha256}                        a reply's bytes, once
raw/{source}/{interval}/as_of={stamp}/{hash}.json        manifest of a batch of replies
processed/candles/interval={interval}/year={yyyy}/{hash}.parquet    accepted candles, and those
processed/candles/interval={interval}/symbol={symbol}/month={yyyy-mm}/{hash}.parquet
                                                         that are shorter than a day
features/version={version}/interval={interval}/...       features: feature_files.py
state/{fingerprint}/{stamp}.arrow, {stamp}/{part}.arrow   carried state, a cache
payments/{data_set}/...                                  bands to look at, models of forecasters
stream/interval={interval}/date={yyyy-mm-dd}/{hash}.parquet      what a stream judged, a log
runs/{run}/manifest.json, runs/{run}/report.html         what a run did
runs/probe/...                                           written by ``doctor``

A stamp is ``20240313T120000Z``. A manifest is written after the bodies that it names.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components import feature_files
from components.errors import LakeError, WriteOnceError
from components.objects import open_objects, segment
from components.records import CandleRequest, Failure, RawBatch, RawReply
from components.rows import ARROW_TYPES, apart, is_intraday, prepared
from components.tables import CANDLES, RAW_OBJECTS

STAMP = "%Y%m%dT%H%M%SZ"

# How often a reader lists a month again whose files were merged under its hands.
READ_AGAIN = 3


class Lake:
    """All layers under one root, a folder or ``s3://bucket/prefix``."""

    def __init__(self, root: str, timeout_s: float = 60) -> None:
        self.root = root
        self.objects = open_objects(root, timeout_s)

    def put_raw(self, batch: RawBatch) -> str:
        """Keep what a provider said: the bodies, then the manifest; give the manifest's key."""
        for reply in batch.replies:
            self.objects.put_once(_body_key(reply), reply.body)
        body = _manifest(batch)
        first = batch.replies[0].request if batch.replies else None
        if first is None:
            return ""
        name = hashlib.sha256(body).hexdigest()[:16]
        key = f"{_manifests(batch.source, first.interval)}as_of={_stamp(first.as_of)}/{name}.json"
        self.objects.put_once(key, body)
        return key

    def named_key(self, source: str, name: str) -> str:
        """Where the reply to a request with a name is kept."""
        return _named_key(source, name)

    def get_named(self, source: str, name: str) -> bytes | None:
        """What was kept under a name; None when nothing was."""
        key = _named_key(source, name)
        return self.objects.get(key) if self.objects.exists(key) else None

    def read_raw(self, key: str, wanted: Collection[CandleRequest] | None = None) -> RawBatch:
        """Read a batch back, or its replies to ``wanted`` alone.

        Raises
        ------
        LakeError
            When a body is not the one that was kept.
        """
        manifest = json.loads(self.objects.get(key))
        replies = []
        for entry in manifest["replies"]:
            request = _request(entry)
            if wanted is not None and request not in wanted:
                continue
            body = self.objects.get(entry["body"])
            if hashlib.sha256(body).hexdigest() != entry["sha256"]:
                raise LakeError(
                    f"lake {self.root}: {entry['body']} is not what was kept (its SHA-256 "
                    "differs). Restore it from a backup, or fetch it again with `backfill`."
                )
            replies.append(_reply(manifest["source"], request, entry, body))
        failures = tuple(Failure(**entry) for entry in manifest["failures"])
        return RawBatch(manifest["source"], tuple(replies), failures)

    def raw_bodies(self, key: str) -> list[tuple[CandleRequest, str]]:
        """What a batch asked for, and the key of each reply's body; reads no body."""
        entries = json.loads(self.objects.get(key))["replies"]
        return [(_request(entry), entry["body"]) for entry in entries]

    def raw_manifests(
        self, source: str, interval: str, as_of: pd.Timestamp | None = None
    ) -> list[str]:
        """Keys of the batches' manifests, ordered by ``as_of``; those of one, if given."""
        prefix = _manifests(source, interval)
        return self.objects.list(f"{prefix}as_of={'' if as_of is None else _stamp(as_of) + '/'}")

    def raw_rows(self, batch: RawBatch) -> pd.DataFrame:
        """The batch's replies as rows of ``raw_objects``."""
        rows = [
            {
                "key": _body_key(reply),
                "source": reply.source,
                "symbol": reply.request.symbol,
                "interval": reply.request.interval,
                "since": reply.request.since,
                "until": reply.request.until,
                "url": reply.url,
                "status": reply.status,
                "known_at": reply.request.as_of,
                "sha256": _sha256(reply.body),
                "n_bytes": len(reply.body),
            }
            for reply in batch.replies
        ]
        return pd.DataFrame(rows, columns=list(RAW_OBJECTS.columns))

    def put_candles(self, candles: pd.DataFrame) -> list[str]:
        """Write accepted candles; the same rows give the same bytes under the same keys.

        Days and longer bars go by year, shorter ones by instrument and month.
        """
        keys = []
        days, shorter = apart(prepared(candles, CANDLES))
        for interval, year in _files_of(days):
            is_in = pc.and_(pc.equal(days["interval"], interval), pc.equal(_year(days), year))
            sink = pa.BufferOutputStream()
            pq.write_table(days.filter(is_in), sink, compression="zstd")
            body = sink.getvalue().to_pybytes()
            folder = f"processed/candles/interval={segment(interval)}/year={year}"
            keys.append(self._put_named(folder, body))
        for folder, rows in _months_of(shorter):
            keys.append(self._put_named(folder, _parquet(rows)))
        return keys

    def processed(self, interval: str) -> Iterator[pd.DataFrame]:
        """The processed candles, file by file; shorter bars month by month, no row twice."""
        keys = self.objects.list(f"processed/candles/interval={segment(interval)}/")
        if is_intraday(interval):
            for folder in sorted({key.rpartition("/")[0] for key in keys}):
                yield self._month(folder).to_pandas()
            return
        for key in keys:
            yield pq.read_table(pa.BufferReader(self.objects.get(key))).to_pandas()

    def read_month(self, interval: str, symbol: str, month: str) -> pd.DataFrame:
        """All versions of an instrument's bars of a month, "2024-12", in the order of the key."""
        rows: pd.DataFrame = self._month(_month_folder(interval, symbol, month)).to_pandas()
        return rows

    def compact(self, interval: str, symbol: str, month: str) -> int:
        """Merge the files of an instrument's month into one; give how many were merged.

        It may be killed at any instant and repeated: the merged file is whole before the
        others go, its bytes are those of the same rows always, and readers see no row twice.
        """
        return self._compact(_month_folder(interval, symbol, month))

    def compact_all(self, interval: str, least: int = 2) -> int:
        """Merge wherever a month has ``least`` files or more; give how many files were merged."""
        keys = self.objects.list(f"processed/candles/interval={segment(interval)}/symbol=")
        n_files = Counter(key.rpartition("/")[0] for key in keys)
        return sum(self._compact(folder) for folder, n in sorted(n_files.items()) if n >= least)

    def _compact(self, folder: str) -> int:
        keys = self.objects.list(f"{folder}/")
        if len(keys) < 2:
            return 0
        merged = self._put_named(folder, _parquet(self._read(keys)))
        for key in keys:
            if key != merged:
                self.objects.delete(key)
        return len(keys)

    def _month(self, folder: str) -> pa.Table:
        for _ in range(READ_AGAIN):
            keys = self.objects.list(f"{folder}/")
            try:
                return self._read(keys)
            except LakeError:
                # Somebody may have merged the files since they were listed.
                if self.objects.list(f"{folder}/") == keys:
                    raise
        return self._read(self.objects.list(f"{folder}/"))

    def _read(self, keys: Iterable[str]) -> pa.Table:
        """The distinct rows of some files, in the order of the key."""
        empty = pa.schema({name: ARROW_TYPES[kind] for name, kind in CANDLES.columns.items()})
        files = [self._file(key) for key in keys]
        rows = pa.concat_tables([empty.empty_table(), *files], promote_options="default")
        if len(files) > 1:
            rows = rows.group_by(rows.column_names).aggregate([])
        others = [name for name in rows.column_names if name not in CANDLES.key]
        return rows.sort_by([(name, "ascending") for name in (*CANDLES.key, *others)])

    def _file(self, key: str) -> pa.Table:
        try:
            return pq.read_table(pa.BufferReader(self.objects.get(key)))
        except pa.ArrowInvalid as error:
            raise LakeError(
                f"lake {self.root}: {key} is no readable Parquet. Delete it and run `replay`."
            ) from error

    def _put_named(self, folder: str, body: bytes) -> str:
        key = f"{folder}/{hashlib.sha256(body).hexdigest()[:16]}.parquet"
        self.objects.put_once(key, body)
        return key

    def put_features(self, rows: pd.DataFrame) -> int:
        """Put rows of features among those of their months; give how many files changed."""
        return feature_files.put(self.objects, rows)

    def put_stream_log(self, rows: pd.DataFrame) -> list[str]:
        """Write candles with their verdicts, a file a day; the same rows give the same bytes."""
        keys = []
        day = rows["ts"].dt.strftime("%Y-%m-%d")
        for (interval, date), own in rows.groupby([rows["interval"], day]):
            sink = pa.BufferOutputStream()
            table = pa.Table.from_pandas(own, preserve_index=False).replace_schema_metadata()
            pq.write_table(table, sink, compression="zstd")
            folder = f"stream/interval={segment(str(interval))}/date={date}"
            keys.append(self._put_named(folder, sink.getvalue().to_pybytes()))
        return keys

    def put_state(self, fingerprint: str, as_of: pd.Timestamp, body: bytes) -> None:
        """Keep the state carried behind ``as_of``."""
        self.objects.put(state_key(fingerprint, as_of), body)

    def latest_state(
        self, fingerprint: str, as_of: pd.Timestamp
    ) -> tuple[pd.Timestamp, bytes] | None:
        """The newest state not newer than ``as_of``, and the instant that it is behind."""
        keys = self.objects.list(f"state/{segment(fingerprint)}/")
        fitting = [key for key in keys if _is_state(key) and _state_stamp(key) <= _stamp(as_of)]
        if not fitting:
            return None
        at = pd.to_datetime(_state_stamp(fitting[-1]), format=STAMP, utc=True)
        return at, self.objects.get(fitting[-1])

    def put_state_part(self, fingerprint: str, as_of: pd.Timestamp, part: int, body: bytes) -> None:
        """Keep one part of the state carried behind ``as_of``."""
        self.objects.put(state_part(fingerprint, as_of, part), body)

    def get_state_part(self, fingerprint: str, as_of: pd.Timestamp, part: int) -> bytes:
        """Read a part; ``LakeError`` when it is absent."""
        return self.objects.get(state_part(fingerprint, as_of, part))

    def states(self, interval: str) -> list[str]:
        """The keys of all states and their parts, of whatever settings, oldest first."""
        keys = self.objects.list(f"state/{segment(interval)}-")
        return sorted(keys, key=lambda key: (_state_stamp(key), key))

    def delete_states(self, keys: Iterable[str]) -> None:
        """Delete states, or parts of them."""
        for key in keys:
            self.objects.delete(key)

    def forget_states(self, as_of: pd.Timestamp) -> None:
        """Delete the states that are not older than ``as_of``, whatever settings made them."""
        for key in self.objects.list("state/"):
            if _state_stamp(key) >= _stamp(as_of):
                self.objects.delete(key)

    def put_run(self, run: str, name: str, body: bytes) -> str:
        """Keep a run's report or manifest; give where it is."""
        key = f"runs/{segment(run)}/{name}"
        self.objects.put(key, body)
        return f"{self.root}/{key}"

    def put_payments(self, data_set: str, name: str, body: bytes) -> str:
        """Keep a page, a picture or a table of a data set's bands, over the last; give where."""
        key = f"payments/{segment(data_set)}/{name}"
        self.objects.put(key, body)
        return f"{self.root}/{key}"

    def put_forecaster(self, data_set: str, body: bytes) -> str:
        """Keep what a forecaster learned, once; give its name."""
        name = f"{_sha256(body)[:16]}.npz"
        self.objects.put_once(f"payments/{segment(data_set)}/models/{name}", body)
        return name

    def get_forecaster(self, data_set: str, name: str) -> bytes:
        """Read ``put_forecaster`` back; ``LakeError`` when it is absent."""
        return self.objects.get(f"payments/{segment(data_set)}/models/{segment(name)}")

    def probe(self) -> None:
        """Write, list and read objects, and see that what is written once stays.

        Raises
        ------
        LakeError
            One of these may not be done, or the store overwrites what is written once.
        """
        self.objects.put("runs/probe/again", b"probe")
        self.objects.put_once("runs/probe/once", b"once")
        with suppress(WriteOnceError):
            self.objects.put_once("runs/probe/once", b"other")
        if self.objects.get("runs/probe/once") != b"once":
            raise LakeError(
                f"lake {self.root}: the store overwrites what is written once. Use one that "
                "honours If-None-Match: *, as S3 and MinIO do."
            )
        if "runs/probe/again" not in self.objects.list("runs/probe/"):
            raise LakeError(f"lake {self.root}: what was written is not listed. Look at the store.")

    def run_manifests(self) -> list[bytes]:
        """The manifests of all runs."""
        keys = [key for key in self.objects.list("runs/") if key.endswith("/manifest.json")]
        return [self.objects.get(key) for key in keys]


def _year(rows: pa.Table) -> pa.ChunkedArray:
    return pc.year(rows["ts"])


def _files_of(rows: pa.Table) -> list[tuple[str, int]]:
    pairs = pa.table({"interval": rows["interval"], "year": _year(rows)})
    found = pairs.group_by(["interval", "year"]).aggregate([])
    return sorted((row["interval"], row["year"]) for row in found.to_pylist())


def _months_of(rows: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """Each instrument's month of prepared rows, and the folder of its files."""
    if not len(rows):
        return
    months = rows["ts"].to_numpy().astype("datetime64[M]")
    begins = months[1:] != months[:-1]
    for name in ("symbol", "interval"):
        begins |= pc.not_equal(rows[name][1:], rows[name][:-1]).to_numpy()
    places = [0, *(np.flatnonzero(begins) + 1).tolist(), len(rows)]
    for first, end in pairwise(places):
        symbol, interval = rows["symbol"][first].as_py(), rows["interval"][first].as_py()
        folder = _month_folder(interval, symbol, str(months[first]))
        yield folder, rows.slice(first, end - first)


def _month_folder(interval: str, symbol: str, month: str) -> str:
    place = f"interval={segment(interval)}/symbol={segment(symbol)}/month={segment(month)}"
    return f"processed/candles/{place}"


def _parquet(rows: pa.Table) -> bytes:
    """Rows as Parquet: texts and instants that repeat as a dictionary, prices as they are."""
    repeating = ["symbol", "interval", "hours", "source", "known_at"]
    sink = pa.BufferOutputStream()
    pq.write_table(rows.combine_chunks(), sink, compression="zstd", use_dictionary=repeating)
    body: bytes = sink.getvalue().to_pybytes()
    return body


def _stamp(instant: pd.Timestamp) -> str:
    return instant.strftime(STAMP)


def manifest_as_of(key: str) -> pd.Timestamp:
    """Tell from a manifest's key when its batch was asked for."""
    stamp = key.rpartition("as_of=")[2].partition("/")[0]
    return pd.to_datetime(stamp, format=STAMP, utc=True)


def state_key(fingerprint: str, as_of: pd.Timestamp) -> str:
    """The key of a state."""
    return f"state/{segment(fingerprint)}/{_stamp(as_of)}.arrow"


def state_part(fingerprint: str, as_of: pd.Timestamp, part: int) -> str:
    """The key of a part of a state."""
    return f"state/{segment(fingerprint)}/{_stamp(as_of)}/{part:05d}.arrow"


def _is_state(key: str) -> bool:
    """A state itself, not a part of one."""
    return key.count("/") == 2


def _state_stamp(key: str) -> str:
    return key.split("/")[2].removesuffix(".arrow")


def _manifests(source: str, interval: str) -> str:
    return f"raw/{segment(source)}/{segment(interval)}/"


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _named_key(source: str, name: str) -> str:
    return f"raw/{segment(source)}/named/{segment(name[:2])}/{segment(name)}"


def _body_key(reply: RawReply) -> str:
    if reply.request.name:
        return _named_key(reply.source, reply.request.name)
    sha256 = _sha256(reply.body)
    return f"raw/{segment(reply.source)}/bodies/{sha256[:2]}/{sha256}"


def _manifest(batch: RawBatch) -> bytes:
    body = {
        "source": batch.source,
        "replies": [_entry(reply) for reply in batch.replies],
        "failures": [failure.__dict__ for failure in batch.failures],
    }
    return json.dumps(body, sort_keys=True, indent=1).encode()


def _entry(reply: RawReply) -> dict[str, Any]:
    request = reply.request
    return {
        "symbol": request.symbol,
        "interval": request.interval,
        "since": request.since.isoformat(),
        "until": request.until.isoformat(),
        "as_of": request.as_of.isoformat(),
        "url": reply.url,
        "status": reply.status,
        "observed_at": reply.observed_at.isoformat(),
        "details": dict(reply.details),
        "name": request.name,
        "body": _body_key(reply),
        "sha256": _sha256(reply.body),
        "n_bytes": len(reply.body),
    }


def _request(entry: dict[str, Any]) -> CandleRequest:
    return CandleRequest(
        entry["symbol"],
        entry["interval"],
        pd.Timestamp(entry["since"]),
        pd.Timestamp(entry["until"]),
        pd.Timestamp(entry["as_of"]),
        entry.get("name", ""),
    )


def _reply(source: str, request: CandleRequest, entry: dict[str, Any], body: bytes) -> RawReply:
    return RawReply(
        source=source,
        request=request,
        url=entry["url"],
        status=entry["status"],
        observed_at=pd.Timestamp(entry["observed_at"]),
        body=body,
        details=entry["details"],
    )
