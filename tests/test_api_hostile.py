"""Whatever is sent, the answer is a verdict or names the field; never a fault of the server."""

import io
import json
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.entrypoints.api.bodies import ARROW, PARQUET
from tests.api_server import made_world, serving
from tests.test_api_guard import is_problem
from tests.worlds import MORNING

BAR = {
    "symbol": "AAA",
    "ts": "2024-03-13",
    "open": 100,
    "high": 101,
    "low": 99,
    "close": 100.5,
    "volume": 5000,
}


@pytest.fixture(scope="module")
def api(tmp_path_factory, postgres_server):
    """The API over a judged market; small limits, so that their tests are quick."""
    world = made_world(tmp_path_factory.mktemp("town"), postgres_server)
    world.put_market(AAA=0.3)
    world.run(MORNING)
    with serving(world, "--open", api_max_rows=20_000, api_requests_per_minute=1e6) as opened:
        yield opened


def send(api, body, kind="application/json", path="/v1/score"):
    """Send bytes as they are."""
    return api.post(path, data=body, headers={"Content-Type": kind})


def with_(**more):
    """A body with one candle that differs."""
    return json.dumps({"candles": [{**BAR, **more}]})


NAN = json.dumps({"candles": [{**BAR, "close": math.nan}]})

REFUSED = {
    "nothing": (b"", "body"),
    "no JSON": (b"{'candles': 1}", "body"),
    "half of it": (b'{"candles": [{"symbol": "AAA"', "body"),
    "another document": (b"[]", "body"),
    "no candles": (b'{"candles": []}', "candles"),
    "a word more": (json.dumps({"candles": [BAR], "admin": True}), "admin"),
    "a field more": (with_(adj=1), "candles[0].adj"),
    "NaN": (NAN, "candles[0].close"),
    "infinite": (with_(close=math.inf), "candles[0].close"),
    "1e400": (with_().replace("100.5", "1e400"), "candles[0].close"),
    "a text for a price": (with_(close="100"), "candles[0].close"),
    "true for a price": (with_(close=True), "candles[0].close"),
    "null for a price": (with_(close=None), "candles[0].close"),
    "no zone": (with_(ts="2024-03-13T00:00:00"), "candles[0].ts"),
    "no such zone": (with_(ts="2024-03-13T00:00:00 Mars/Olympus"), "candles[0].ts"),
    "an offset of 99 hours": (with_(ts="2024-03-13T00:00:00+99:00"), "candles[0].ts"),
    "no day": (with_(ts="2024-02-30"), "candles[0].ts"),
    "a number for an instant": (with_(ts=1_710_288_000), "candles[0].ts"),
    "the year 1": (with_(ts="0001-01-01"), "candles[0].ts"),
    "the year 9999": (with_(ts="9999-12-31T23:59:59+00:00"), "candles[0].ts"),
    "the edge of time": (with_(ts="0001-01-01T00:00:00+14:00"), "candles[0].ts"),
    "a name with a quote": (with_(symbol="A'; drop table alerts;--"), "candles[0].symbol"),
    "a name with a null": (with_(symbol="A\x00"), "candles[0].symbol"),
    "a name of a folder": (with_(symbol="../../etc/passwd"), "candles[0].symbol"),
    "a name of dots": (with_(symbol="A..B"), "candles[0].symbol"),
    "a very long name": (with_(symbol="A" * 100_000), "candles[0].symbol"),
    "lone surrogates": (b'{"candles": [{"symbol": "\\ud800"}]}', "body"),
    "no UTF-8": (b'{"candles": "\xff\xfe"}', "body"),
}


@pytest.mark.parametrize(("body", "field"), REFUSED.values(), ids=list(REFUSED))
def test_a_malformed_body_is_refused_by_the_name_of_its_field(api, body, field):
    """422, and where it is wrong."""
    said = is_problem(send(api, body), 422)
    assert any(each["field"].startswith(field) for each in said["errors"]), said


def test_deep_documents_are_refused_not_followed(api):
    """A hundred thousand brackets are no reason to fall."""
    for body in (b"[" * 100_000, b'{"candles":' * 20_000 + b"1" + b"}" * 20_000):
        is_problem(send(api, body), 422)


def test_of_a_bar_that_comes_twice_the_last_counts(api):
    """The others are put aside by name, as in a file."""
    body = {"candles": [{**BAR, "close": 100.1}, BAR]}
    said = api.post("/v1/score", json=body).json()
    assert [each["check"] for each in said["aside"]] == ["duplicate_bar"]
    alone = api.post("/v1/score", json={"candles": [BAR]}).json()
    assert said["verdicts"] == alone["verdicts"]


ABSURD = [1e308, 1e19, 1e-308, 5e-324, 0.0, -1.0, 1e18, 1e17]


@pytest.mark.parametrize("value", ABSURD)
@pytest.mark.parametrize("name", ["open", "high", "low", "close", "volume", "vwap"])
def test_absurd_numbers_are_judged_or_put_aside(api, name, value):
    """10^308 is a number; what becomes of it is said, and numbers that come back are finite."""
    reply = send(api, with_(**{name: value}))
    assert reply.status_code == 200
    said = reply.json()
    assert len(said["verdicts"]) + len(said["aside"]) == 1
    assert all(each["check"] for each in said["aside"])


def test_reasons_of_bars_that_are_all_put_aside_are_none(api):
    """Nothing was judged, so there is nothing to give reasons of."""
    body = {"candles": [{**BAR, "symbol": "NEW", "open": 0, "close": 0, "high": 0, "low": 0}]}
    said = api.post("/v1/score?reasons=all", json=body)
    assert said.status_code == 200
    assert said.json()["verdicts"] == []


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    bars=st.lists(
        st.fixed_dictionaries(
            {
                name: st.floats(allow_nan=False, allow_infinity=False)
                for name in ("open", "high", "low", "close", "volume")
            }
        ),
        min_size=1,
        max_size=30,
    ),
    history=st.sampled_from(["stored", "none"]),
)
def test_any_numbers_at_all_are_answered(api, bars, history):
    """Each bar has a verdict or the name of a check."""
    days = pd.bdate_range("2024-03-13", periods=len(bars)).strftime("%Y-%m-%d")
    body = [{"symbol": "BBB", "ts": day, **bar} for day, bar in zip(days, bars, strict=True)]
    reply = api.post(f"/v1/score?history={history}", json={"candles": body})
    assert reply.status_code == 200, reply.text
    said = reply.json()
    assert len(said["verdicts"]) + len(said["aside"]) == len(bars)


def test_too_many_rows_are_refused_in_every_form(api):
    """A million rows, as JSON, Arrow and Parquet, packed small."""
    n = 1_000_000
    table = pa.table(
        {
            "symbol": pa.array(["AAA"]).take(pa.array(np.zeros(n, dtype=int))),
            "ts": pa.array(np.arange(n) * 86_400_000_000, pa.timestamp("us", "UTC")),
            **{k: np.ones(n) for k in ("open", "high", "low", "close")},
        }
    )
    packed = io.BytesIO()
    pq.write_table(table, packed, compression="zstd")
    assert "20,000 rows" in is_problem(send(api, packed.getvalue(), PARQUET), 413)["detail"]
    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table.slice(0, 200_000), max_chunksize=10_000)
    is_problem(send(api, bytes(stream.getvalue()), ARROW), 413)
    line = json.dumps({**BAR, "volume": 1})
    rows = ",".join([line] * 100_000)
    is_problem(send(api, '{"candles":[' + rows + "]}"), 413)


BROKEN = {
    "not Parquet": (PARQUET, b"PAR1 nothing PAR1"),
    "not Arrow": (ARROW, b"\xff\xff\xff\xff\x10\x00\x00\x00 nothing"),
    "empty": (PARQUET, b""),
    "empty Arrow": (ARROW, b""),
}


@pytest.mark.parametrize(("kind", "body"), BROKEN.values(), ids=list(BROKEN))
def test_files_that_are_none_are_refused(api, kind, body):
    """A broken file is no fault of ours."""
    assert send(api, body, kind).status_code == 422


def parquet(**columns):
    """A file of one row whose columns differ."""
    row = {
        "symbol": pa.array(["AAA"]),
        "ts": pa.array([1_710_288_000_000_000], pa.timestamp("us", "UTC")),
        **{name: pa.array([100.0]) for name in ("open", "high", "low", "close")},
    }
    row |= columns
    sink = io.BytesIO()
    pq.write_table(pa.table({k: v for k, v in row.items() if v is not None}), sink)
    return sink.getvalue()


WRONG_COLUMNS = {
    "no close": ({"close": None}, "close"),
    "texts for prices": ({"open": pa.array(["a"])}, "open"),
    "a price lacks": ({"open": pa.array([None], pa.float64())}, "open"),
    "instants without a zone": ({"ts": pa.array([1], pa.timestamp("us"))}, "ts"),
    "numbers for instants": ({"ts": pa.array([1])}, "ts"),
    "lists for names": ({"symbol": pa.array([["A"]])}, "symbol"),
    "instants of another age": ({"ts": pa.array([2**61], pa.timestamp("ms", "UTC"))}, "ts"),
}


@pytest.mark.parametrize(("columns", "field"), WRONG_COLUMNS.values(), ids=list(WRONG_COLUMNS))
def test_columns_that_are_wrong_are_named(api, columns, field):
    """As a field of JSON is."""
    said = is_problem(send(api, parquet(**columns), PARQUET), 422)
    assert any(field in each["field"] for each in said["errors"]), said


def test_other_kinds_of_body_are_refused(api):
    """Neither forms nor what says nothing of itself."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        is_problem(send(api, with_(), kind), 415)


STRANGE_PATHS = [
    "/v1/alerts/../../etc/passwd",
    "/v1/alerts/%00",
    "/v1/alerts?limit=999999999999999999999",
    "/v1/alerts?limit=-1",
    "/v1/alerts?since=yesterday",
    "/v1/alerts?since=0001-01-01T00:00:00%2B14:00",
    "/v1/alerts?since=9999-12-31T23:59:59-14:00",
    "/v1/alerts?cursor=" + "A" * 399,
    "/v1/alerts?cursor=bm90IGpzb24",
    "/v1/alerts?cursor=WzEsMl0",
    "/v1/alerts?cursor=WyIwMDAxLTAxLTAxVDAwOjAwOjAwKzE0OjAwIiwgIngiXQ",
    "/v1/alerts?symbol=%27%20or%201%3D1",
    "/v1/incidents/ffffffffffff",
    "/v1/incidents/ffffffffffff/chart.png",
    "/v1/instruments/%2e%2e%2f/candles",
    "/v1/instruments/A%00/candles",
    "/v1/instruments/AAA/candles?interval=9999d",
    "/v1/instruments/AAA/candles?interval=0m",
    "/v1/instruments/AAA/scores?cursor=WyIyMDI0IiwgIkEiXQ",
    "/v1/instruments?search=%25",
    "/v1/runs?cursor=%00",
    "/v1/stream?level=7",
]


@pytest.mark.parametrize("path", STRANGE_PATHS)
def test_strange_paths_are_refused(api, path):
    """404 or 422, as a problem; nothing is read from anywhere else."""
    reply = api.get(path)
    assert reply.status_code in (404, 422), reply.text
    is_problem(reply, reply.status_code)


def test_notes_are_kept_as_they_were_meant_and_shown_harmless(api):
    """Control characters and markup in a note neither break a list nor hide in it."""
    alert = api.get("/v1/alerts").json()["items"][0]["id"]
    note = "<script>alert(1)</script>\r\nBcc: all\x00\x1b[2J" + "x" * 300
    reply = api.post(f"/v1/alerts/{alert}/label", json={"label": "expected", "note": note})
    assert reply.status_code == 200, reply.text
    said = api.get(f"/v1/alerts/{alert}").json()["said"][-1]["note"]
    assert not set(said) & {"\r", "\n", "\x00", "\x1b"}
    too_long = api.post(f"/v1/alerts/{alert}/label", json={"label": "false", "note": "x" * 501})
    is_problem(too_long, 422)


def test_the_server_still_answers_and_has_no_fault_in_its_log(api):
    """After all of the above."""
    assert api.get("/v1/health").json()["live"] is True
    assert "Traceback" not in api.said
