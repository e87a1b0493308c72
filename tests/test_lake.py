"""The lake, in a folder and on a real S3 server: whole objects, written once, none astray."""

import json
import resource
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.errors import LakeError, SettingsError, WriteOnceError
from components.lake import Lake
from components.objects import MULTIPART_FROM, open_objects, segment, text_of
from components.records import CandleRequest, Failure, RawBatch, RawReply
from components.tables import CANDLES
from tests.minutes_made import minutes

AS_OF = pd.Timestamp("2024-03-13T06:00", tz="UTC")
HOSTILE = ["../../etc/passwd", "..", ".", "", "EURUSD=X", "^GSPC", "a/b\\c", "a\0b", "C:", "é%2F"]


def reply(symbol="AAPL", body=b"first", as_of=AS_OF, interval="1d"):
    """One reply of a provider."""
    since = pd.Timestamp("2024-03-11", tz="UTC")
    request = CandleRequest(symbol, interval, since, since + pd.Timedelta(days=1), as_of)
    return RawReply("yahoo", request, "https://host/x", 200, as_of, body, {"zone": "UTC"})


def candles(n=3):
    """Accepted candles over a turn of the year."""
    ts = pd.date_range("2023-12-30", periods=n, freq="D", tz="UTC", unit="us")
    numbers = dict.fromkeys(("open", "high", "low", "close", "volume", "vwap", "trades"), 1.5)
    rows = pd.DataFrame({"symbol": "A", "interval": "1d", "ts": ts, **numbers, "source": "x"})
    return rows.assign(known_at=AS_OF).reindex(columns=list(CANDLES.columns))


def test_a_batch_comes_back_as_it_was(lake):
    """What a provider said is kept byte for byte, with all that is needed to parse it again."""
    batch = RawBatch(
        "yahoo",
        tuple(reply(symbol, symbol.encode()) for symbol in HOSTILE),
        (Failure("ZZZ", "SymbolNotFound", "no such instrument"),),
    )
    assert lake.read_raw(lake.put_raw(batch)) == batch


def test_the_same_batch_twice_is_one_manifest_and_one_body_each(lake):
    """A repeated run writes nothing new; a body that did not change is kept once."""
    first = lake.put_raw(RawBatch("yahoo", (reply(),)))
    before = lake.objects.list("")
    assert lake.put_raw(RawBatch("yahoo", (reply(),))) == first
    assert lake.objects.list("") == before
    later = replace(reply(), request=replace(reply().request, as_of=AS_OF + pd.Timedelta(days=1)))
    lake.put_raw(RawBatch("yahoo", (later,)))
    assert len(lake.objects.list("raw/yahoo/bodies/")) == 1


def test_a_manifest_points_at_bodies_that_are_there(lake):
    """A replay finds every body that a manifest names."""
    key = lake.put_raw(RawBatch("yahoo", (reply(), reply("MSFT", b"second"))))
    entries = json.loads(lake.objects.get(key))["replies"]
    assert [lake.objects.get(entry["body"]) for entry in entries] == [b"first", b"second"]


def test_manifests_are_listed_in_the_order_of_their_instants(lake):
    """A replay meets the batches as the runs did."""
    instants = [AS_OF + pd.Timedelta(hours=h) for h in (5, 0, 20, 1)]
    keys = {at: lake.put_raw(RawBatch("yahoo", (reply(as_of=at),))) for at in instants}
    lake.put_raw(RawBatch("yahoo", (reply(interval="1m"),)))
    assert lake.raw_manifests("yahoo", "1d") == [keys[at] for at in sorted(instants)]
    assert lake.raw_manifests("yahoo", "1d", AS_OF) == [keys[AS_OF]]


def test_a_changed_body_is_noticed(lake):
    """A replay never builds on bytes that are not what the provider said."""
    key = lake.put_raw(RawBatch("yahoo", (reply(),)))
    body_key = json.loads(lake.objects.get(key))["replies"][0]["body"]
    lake.objects.put(body_key, b"forged")
    with pytest.raises(LakeError, match="SHA-256"):
        lake.read_raw(key)


def test_an_object_written_once_is_never_changed(lake):
    """The same bytes again are fine, others are refused, and the first stay."""
    lake.objects.put_once("raw/x", b"one")
    lake.objects.put_once("raw/x", b"one")
    with pytest.raises(WriteOnceError, match="raw/x"):
        lake.objects.put_once("raw/x", b"two")
    assert lake.objects.get("raw/x") == b"one"


def test_objects_are_put_got_listed_and_deleted(lake):
    """The store does what its words say, and an absent object is a clear error."""
    for key in ("b/2", "a/1", "a/10", "ab"):
        lake.objects.put(key, key.encode())
    lake.objects.put("a/1", b"newer")
    assert lake.objects.list("a/") == ["a/1", "a/10"]
    assert lake.objects.list("a") == ["a/1", "a/10", "ab"]
    assert lake.objects.get("a/1") == b"newer"
    lake.objects.delete("a/1")
    lake.objects.delete("a/1")
    assert not lake.objects.exists("a/1")
    assert lake.objects.exists("a/10")
    with pytest.raises(LakeError, match="a/1") as caught:
        lake.objects.get("a/1")
    assert "\n" not in str(caught.value)


def test_a_large_object_goes_up_in_parts_and_comes_back_whole(s3_url):
    """S3 takes at most 5 GB at once and fails more often on long uploads."""
    objects, body = open_objects(s3_url), bytes(range(256)) * (MULTIPART_FROM // 256 + 1)
    objects.put("large", body)
    assert objects.get("large") == body


def test_a_listing_longer_than_a_page_is_complete(s3_url):
    """S3 lists a thousand keys a page."""
    objects = open_objects(s3_url)
    keys = [f"k/{number:05d}" for number in range(1005)]
    for key in keys:
        objects.put(key, b"")
    assert objects.list("k/") == keys


@pytest.mark.parametrize("chosen", ["AES256", "aws:kms"])
def test_objects_on_s3_are_encrypted_as_the_bucket_says(chosen, s3_url):
    """By the key that its owner chose for it: no write asks for another."""
    import boto3

    s3, bucket = boto3.client("s3"), s3_url.split("/")[2]
    by_default = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": chosen}}
    s3.put_bucket_encryption(
        Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [by_default]}
    )
    objects = open_objects(s3_url)
    objects.put("a", b"1")
    objects.put_once("b", b"2")
    objects.put("c", b"3" * (MULTIPART_FROM + 1))
    for key in ("a", "b", "c"):
        head = s3.head_object(Bucket=bucket, Key=f"a/prefix/{key}")
        assert head["ServerSideEncryption"] == chosen


@given(st.text())
def test_any_text_is_one_part_of_a_key_and_comes_back(text):
    """A symbol from outside cannot climb out of the root, hide, or collide with another."""
    part = segment(text)
    assert text_of(part) == text
    assert "/" not in part
    assert part not in (".", "..")
    assert not part.startswith(".")


@pytest.mark.parametrize("key", ["", "../x", "a/../../x", "/etc/passwd", "a//b", "a\\b", "a\0b"])
def test_a_key_that_leaves_the_root_is_refused(lake, key):
    """Nothing is ever read or written outside the root."""
    for attempt in (lambda: lake.objects.put(key, b"x"), lambda: lake.objects.get(key)):
        with pytest.raises(LakeError):
            attempt()


def test_the_same_candles_give_the_same_files(lake):
    """The processed layer is a function of its rows, one file a year, and reads back."""
    keys = lake.put_candles(candles())
    bodies = [lake.objects.get(key) for key in keys]
    assert lake.put_candles(candles().sample(frac=1, random_state=1)) == keys
    assert [lake.objects.get(key) for key in keys] == bodies
    assert ["year=2023" in keys[0], "year=2024" in keys[1]] == [True, True]
    back = pd.concat(lake.processed("1d")).reset_index(drop=True)
    pd.testing.assert_frame_equal(back, candles(), check_dtype=False)


def minute_candles(symbol="A/../B", known_at=AS_OF, close=1.5):
    """Accepted minutes over a turn of the month."""
    return minutes(1, 60, pd.Timestamp("2023-12-31T23:30", tz="UTC"), known_at).assign(
        symbol=symbol, close=close
    )


def all_rows(lake, interval="1m"):
    """All processed candles of an interval."""
    return pd.concat(lake.processed(interval)).reset_index(drop=True)


def compared(left, right):
    """Check that two frames hold the same."""
    pd.testing.assert_frame_equal(left, right, check_dtype=False)


def test_an_instruments_month_of_minutes_is_one_read(lake):
    """Minutes go by instrument and month, whatever the instrument is called; days by year."""
    rows = minute_candles()
    keys = lake.put_candles(pd.concat([rows, minute_candles("OTHER"), candles()]))
    folder = f"processed/candles/interval=1m/symbol={segment('A/../B')}"
    months = [f"{folder}/month=2023-12", f"{folder}/month=2024-01"]
    assert [key.rpartition("/")[0] for key in keys if key.startswith(folder)] == months
    assert len(keys) == 6
    assert lake.put_candles(rows.sample(frac=1, random_state=1)) == [
        key for key in keys if key.startswith(folder)
    ]
    december = rows[rows["ts"] < pd.Timestamp("2024-01-01", tz="UTC")]
    compared(lake.read_month("1m", "A/../B", "2023-12"), december)
    assert lake.read_month("1m", "A/../B", "2022-12").columns.tolist() == list(CANDLES.columns)
    compared(all_rows(lake, "1d"), candles())


def pieces_put(lake):
    """A month in three files that overlap, a correction among them; all rows, each once."""
    rows, later = minute_candles(), AS_OF + pd.Timedelta(days=1)
    corrected = minute_candles(known_at=later, close=9.0)[10:20]
    for piece in (rows[:40], rows[20:], corrected):
        lake.put_candles(piece)
    return pd.concat([rows, corrected]).sort_values(["ts", "known_at"]).reset_index(drop=True)


def test_files_of_a_month_are_merged_into_one_and_nothing_is_lost(lake):
    """All versions stay, a row that came twice is there once, the bytes are the rows' alone."""
    rows = pieces_put(lake)
    compared(all_rows(lake), rows)
    assert lake.compact("1m", "A/../B", "2023-12") == 3
    assert lake.compact_all("1m") == 2
    assert lake.compact_all("1m") == 0
    keys = lake.objects.list("processed/candles/")
    assert len(keys) == 2
    compared(all_rows(lake), rows)
    pieces_put(lake)
    compared(all_rows(lake), rows)
    assert lake.compact_all("1m") > 0
    assert lake.objects.list("processed/candles/") == keys


class Stopped(BaseException):
    """The process ended here."""


@pytest.mark.parametrize("steps", range(7))
def test_a_merge_may_stop_at_any_step_and_readers_see_every_row_once(lake, monkeypatch, steps):
    """Before, between and after its writes and deletions; the next merge completes it."""
    rows, left = pieces_put(lake), steps
    put_once, delete = lake.objects.put_once, lake.objects.delete

    def stopping(work):
        def step(*args):
            nonlocal left
            if left == 0:
                raise Stopped
            left -= 1
            work(*args)

        return step

    with monkeypatch.context() as patch:
        patch.setattr(lake.objects, "put_once", stopping(put_once))
        patch.setattr(lake.objects, "delete", stopping(delete))
        with pytest.raises(Stopped) if steps < 6 else nullcontext():
            lake.compact_all("1m")
    compared(all_rows(lake), rows)
    lake.compact_all("1m")
    compared(all_rows(lake), rows)
    assert len(lake.objects.list("processed/candles/")) == 2


def test_a_reader_under_whose_hands_files_are_merged_reads_again(lake, monkeypatch):
    """Between its listing and its reading the files went; it sees the merged one."""
    rows, get = pieces_put(lake), lake.objects.get

    def merged_first(key):
        monkeypatch.setattr(lake.objects, "get", get)
        lake.compact_all("1m")
        return get(key)

    monkeypatch.setattr(lake.objects, "get", merged_first)
    month = lake.read_month("1m", "A/../B", "2023-12")
    compared(month, rows[rows["ts"] < pd.Timestamp("2024-01-01", tz="UTC")])


def test_a_file_that_cannot_be_read_is_told(lake):
    """A month is never silently shorter than it is."""
    key = lake.put_candles(minute_candles())[0]
    lake.objects.put(key, b"no parquet")
    with pytest.raises(LakeError, match="month=2023-12"):
        lake.read_month("1m", "A/../B", "2023-12")


def test_the_newest_state_not_later_than_the_run_is_found(lake):
    """A run for an earlier day must not start from a later day's memory."""
    for days in range(4):
        lake.put_state("1d-abc", AS_OF + pd.Timedelta(days=days), b"%d" % days)
    assert lake.latest_state("1d-abc", AS_OF + pd.Timedelta(days=2.5)) == (
        AS_OF + pd.Timedelta(days=2),
        b"2",
    )
    assert lake.latest_state("1d-abc", AS_OF - pd.Timedelta(seconds=1)) is None
    assert lake.latest_state("other", AS_OF) is None
    assert lake.latest_state("1d-abc", AS_OF + pd.Timedelta(days=9))[1] == b"3"


def test_parts_of_a_state_lie_beside_it_and_are_no_state_themselves(lake):
    """A part comes back as it was put; the newest state is never a part; both can be deleted."""
    later = AS_OF + pd.Timedelta(days=1)
    lake.put_state("1d-abc", AS_OF, b"ledger")
    for part in (0, 7):
        lake.put_state_part("1d-abc", later, part, b"part %d" % part)
    lake.put_state_part("1h-abc", later, 0, b"of another interval")
    assert lake.get_state_part("1d-abc", later, 7) == b"part 7"
    assert lake.latest_state("1d-abc", later) == (AS_OF, b"ledger")
    assert lake.states("1d") == [
        "state/1d-abc/20240313T060000Z.arrow",
        "state/1d-abc/20240314T060000Z/00000.arrow",
        "state/1d-abc/20240314T060000Z/00007.arrow",
    ]
    lake.delete_states(lake.states("1d")[1:])
    assert lake.states("1d") == ["state/1d-abc/20240313T060000Z.arrow"]
    with pytest.raises(LakeError, match=r"00007\.arrow"):
        lake.get_state_part("1d-abc", later, 7)


def test_states_that_are_not_older_than_an_instant_are_forgotten_whole(lake):
    """Whatever settings made them, and their parts with them."""
    for days, fingerprint in enumerate(("1d-abc", "1d-abc", "1d-other")):
        at = AS_OF + pd.Timedelta(days=days)
        lake.put_state(fingerprint, at, b"ledger")
        lake.put_state_part(fingerprint, at, 0, b"part")
    lake.forget_states(AS_OF + pd.Timedelta(days=1))
    assert len(lake.states("1d")) == 2
    assert lake.latest_state("1d-abc", AS_OF + pd.Timedelta(days=9)) == (AS_OF, b"ledger")


WRITER = """
import sys
from components.objects import open_objects
objects = open_objects(sys.argv[1])
print("ready", flush=True)
for number in range(10**6):
    (objects.put, objects.put_once)[number % 2](f"o/{number}", bytes([number % 251]) * 2**22)
"""


@pytest.mark.parametrize("wait_s", [0.05, 0.2, 0.4])
def test_a_killed_write_leaves_no_half_object(tmp_path, wait_s):
    """Whatever is listed is whole, though the writer was killed at any instant."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, tmp_path], stdout=subprocess.PIPE, text=True
    )
    writer.stdout.readline()
    time.sleep(wait_s)
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    objects = open_objects(str(tmp_path))
    for key in objects.list("o/"):
        number = int(key.removeprefix("o/"))
        assert objects.get(key) == bytes([number % 251]) * 2**22
    objects.put("o/0", b"again")
    assert objects.get("o/0") == b"again"


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path):
    """A write that the disk cannot take is an error in one line, and no half object."""
    lake = Lake(str(tmp_path))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(LakeError, match="free space, or set TREMOR_LAKE_URL"):
            lake.objects.put("a/b", bytes(10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_unreachable_bucket_is_one_line_without_credentials(s3_url, monkeypatch):
    """The message says what, where and what to check, and no secret."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "topsecret")
    with pytest.raises(LakeError, match="TREMOR_LAKE_URL") as caught:
        open_objects(s3_url).get("a")
    assert "topsecret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_bucket_is_named():
    """A root that is no place is the settings' fault, told at once."""
    for root in ("s3://", "gs://bucket/x"):
        with pytest.raises(SettingsError, match="TREMOR_LAKE_URL"):
            open_objects(root)
