"""Who is let in, how often, with how much; nobody without a key."""

import contextlib
import json
import socket
import subprocess
import sys
import time

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.keys import digest, id_of, scopes_of, text_of
from components.rate_limits import Buckets
from components.tables import API_KEYS
from components.wiring import open_warehouse
from tests.api_server import command, made_world, operator, serving
from tests.browser import environment
from tests.terminal import ROOT
from tests.worlds import MORNING

BAR = {"symbol": "AAA", "ts": "2024-03-13", "open": 100, "high": 101, "low": 99, "close": 100}


@pytest.fixture(scope="module")
def town(tmp_path_factory, postgres_server):
    """A world with a run."""
    world = made_world(tmp_path_factory.mktemp("town"), postgres_server)
    world.put_market(AAA=0.3)
    world.run(MORNING)
    return world


@pytest.fixture(scope="module")
def keys(town):
    """A key of each scope, made as an operator makes it."""
    return {
        scope: command(town, "keys", "make", f"a-{scope}", "--scope", scope)
        for scope in ("read", "write", "score")
    }


@pytest.fixture(scope="module")
def api(town, keys):
    """The API as it is beyond a laptop: with keys."""
    with serving(town, key=keys["read"], api_max_mb=1, api_timeout_s=2) as opened:
        yield opened


def is_problem(reply, status):
    """An error as a program reads it."""
    said = reply.json()
    assert reply.headers["content-type"] == "application/problem+json"
    assert (reply.status_code, said["status"]) == (status, status), said
    assert said["instance"].removeprefix("urn:request:") == reply.headers["x-request-id"]
    return said


PATHS = ("/v1/alerts", "/v1/health", "/metrics", "/openapi.json", "/v1/stream", "/nowhere")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("key", ["", "nonsense", "tremor_000000000000_" + "A" * 43])
def test_nothing_is_answered_without_a_key_in_force(api, path, key):
    """Not even whether there is such a thing."""
    reply = api.get(path, key=key)
    assert "key" in is_problem(reply, 401)["detail"]
    assert reply.headers["www-authenticate"] == "Bearer"


def test_a_key_opens_what_its_scopes_name(api, keys):
    """A key for reading neither writes nor scores."""
    alert = api.get("/v1/alerts").json()["items"][0]["id"]
    asked = {
        "read": lambda key: api.get("/v1/alerts", key=key),
        "write": lambda key: api.post(f"/v1/alerts/{alert}/acknowledge", json={}, key=key),
        "score": lambda key: api.post("/v1/score", json={"candles": [BAR]}, key=key),
    }
    for scope, ask in asked.items():
        for name, key in keys.items():
            reply = ask(key)
            if name == scope:
                assert reply.status_code == 200, reply.text
            else:
                assert scope in is_problem(reply, 403)["detail"]


def test_what_a_key_wrote_bears_its_name(api, town, keys):
    """Of an acknowledged alert it is known who did it."""
    alert = api.get("/v1/alerts").json()["items"][0]["id"]
    body = {"note": "seen"}
    assert api.post(f"/v1/alerts/{alert}/acknowledge", json=body, key=keys["write"]).ok
    rows = town.query("select * from labels where note = 'seen'")
    assert set(rows["made_by"]) == {"a-write"}


def test_keys_are_kept_as_digests_and_shown_once(town, keys):
    """Who reads the warehouse, the list or the log cannot ask with what he read."""
    listed = command(town, "keys", "list", "--json")
    rows = town.query("select * from api_keys").to_csv()
    for text in keys.values():
        secret = text.rpartition("_")[2]
        assert secret not in listed + rows
        assert digest(text) in rows
    assert len(json.loads(listed)["keys"]) >= 3


def test_a_revoked_key_and_an_expired_one_are_refused_while_the_server_runs(api, town):
    """Within a second or so, without a restart."""
    key = command(town, "keys", "make", "gone soon", "--days", "1")
    _until(lambda: api.get("/v1/runs", key=key).status_code == 200)
    command(town, "keys", "revoke", "gone soon")
    _until(lambda: api.get("/v1/runs", key=key).status_code == 401)
    key = command(town, "keys", "make", "gone soon", "--days", "1")
    _until(lambda: api.get("/v1/runs", key=key).status_code == 200)
    past = pd.Timestamp.now("UTC") - pd.Timedelta(seconds=1)
    with open_warehouse(town.read_settings()) as warehouse:
        warehouse.execute(
            "update api_keys set expires_at = %(at)s where id = %(id)s",
            {"at": past.to_pydatetime(), "id": id_of(key)},
        )
    _until(lambda: api.get("/v1/runs", key=key).status_code == 401)


def test_the_header_of_other_tools_is_heard_too(api, keys):
    """``X-API-Key`` is what many senders can set."""
    reply = api.get("/v1/runs", key="", headers={"X-API-Key": keys["read"]})
    assert reply.status_code == 200


def test_who_guesses_is_slowed_down(town, keys):
    """Five wrong keys a second of one address, sixty at once; right ones go on."""
    with serving(town, key=keys["read"]) as api:
        found = [api.get("/v1/runs", key="tremor_000000000000_" + "B" * 43) for _ in range(75)]
        assert 429 in {reply.status_code for reply in found}
        assert api.get("/v1/runs").status_code == 200


def test_a_key_that_asks_too_often_is_told_when_to_ask_again(town, keys):
    """Each key has its own measure; another's requests do not use it up."""
    with serving(town, key=keys["read"], api_requests_per_minute=60) as api:
        found = [api.get("/v1/runs") for _ in range(20)]
        refused = next(reply for reply in found if reply.status_code == 429)
        is_problem(refused, 429)
        assert 1 <= int(refused.headers["retry-after"]) <= 2
        reply = api.post("/v1/score", json={"candles": [BAR]}, key=keys["score"])
        assert reply.status_code == 200
        assert int(reply.headers["ratelimit-limit"]) == 60


@given(
    per_minute=st.floats(1, 10_000),
    waits=st.lists(st.floats(0, 5), min_size=1, max_size=300),
)
def test_no_more_pass_than_the_burst_and_what_flowed_in(per_minute, waits):
    """Over any span the bucket gives what it held and what came since, no more."""
    buckets, now, given_ = Buckets(per_minute), 0.0, 0
    for wait in waits:
        now += wait
        given_ += buckets.take("a", now).is_given
    assert given_ <= buckets.capacity + now * per_minute / 60 + 1e-6


def test_who_waits_as_he_was_told_passes():
    """What is said in Retry-After is true."""
    buckets = Buckets(30)
    leave = next(
        found for found in (buckets.take("a", 0.0) for _ in range(100)) if not found.is_given
    )
    assert not buckets.take("a", leave.wait_s * 0.9).is_given
    assert buckets.take("a", leave.wait_s + 0.001).is_given


def test_a_body_too_large_is_refused_before_it_is_read(api, keys):
    """By its stated length, and where it states none by what comes."""
    large = b" " * (1_500_000)
    headers = {"Content-Type": "application/json"}
    is_problem(api.post("/v1/score", data=large, key=keys["score"], headers=headers), 413)
    parts = iter([large[:700_000], large[:700_000]])
    is_problem(api.post("/v1/score", data=parts, key=keys["score"], headers=headers), 413)


def test_a_slow_body_is_let_go_and_hinders_nobody(api, keys):
    """A byte a second holds no thread and no connection for long."""
    host, port = api.url.removeprefix("http://").split(":")
    with contextlib.closing(socket.create_connection((host, int(port)))) as slow:
        head = (
            f"POST /v1/score HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {keys['score']}\r\n"
            "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
        )
        slow.sendall(head.encode())
        began = time.monotonic()
        assert api.get("/v1/runs").status_code == 200
        assert time.monotonic() - began < 1.5
        slow.settimeout(30)
        assert slow.recv(4096).startswith(b"HTTP/1.1 408")


def test_connections_that_ask_nothing_are_closed(api):
    """Whoever only holds the line, or never ends his first words, keeps nobody out for long."""
    host, port = api.url.removeprefix("http://").split(":")
    with contextlib.ExitStack() as stack:
        lines = [
            stack.enter_context(contextlib.closing(socket.create_connection((host, int(port)))))
            for _ in range(20)
        ]
        for line in lines[10:]:
            line.sendall(b"GET /v1/runs HTTP/1.1\r\nX-Slow: ")
        for line in lines:
            line.settimeout(40)
            assert line.recv(10) == b""
    assert api.get("/v1/runs").status_code == 200


def test_a_client_that_hangs_up_in_the_middle_leaves_nothing_behind(api, keys):
    """Half a body and gone: the next is answered."""
    host, port = api.url.removeprefix("http://").split(":")
    for _ in range(5):
        with contextlib.closing(socket.create_connection((host, int(port)))) as gone:
            head = (
                f"POST /v1/score HTTP/1.1\r\nHost: {host}\r\n"
                f"Authorization: Bearer {keys['score']}\r\nContent-Length: 1000\r\n\r\n{{"
            )
            gone.sendall(head.encode())
    assert api.get("/v1/runs").status_code == 200
    assert "Traceback" not in api.said


def test_other_sites_may_not_ask_unless_they_are_named(town, keys):
    """A page in a browser is refused by the browser; one that is named is let in."""
    preflight = {
        "Origin": "https://desk.example.com",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization",
    }
    with serving(town, key=keys["read"]) as api:
        reply = api.get("/v1/runs", headers={"Origin": "https://desk.example.com"})
        assert "access-control-allow-origin" not in reply.headers
    with serving(town, key=keys["read"], api_origins="https://desk.example.com") as api:
        reply = api.get("/v1/runs", headers={"Origin": "https://desk.example.com"})
        assert reply.headers["access-control-allow-origin"] == "https://desk.example.com"
        asked = api.ask("OPTIONS", "/v1/runs", key="", headers=preflight)
        assert asked.status_code == 200
        assert asked.headers["access-control-allow-origin"] == "https://desk.example.com"
        evil = api.get("/v1/runs", headers={"Origin": "https://evil.example.com"})
        assert "access-control-allow-origin" not in evil.headers


def test_without_keys_only_this_machine_is_answered_and_only_by_its_own_name(town):
    """A name of elsewhere that leads here is how pages reach into a machine."""
    with serving(town, "--open") as api:
        assert api.get("/v1/runs").status_code == 200
        is_problem(api.get("/v1/runs", headers={"Host": "evil.example.com"}), 401)
        # A form of another page can send no JSON without being asked first.
        alert = api.get("/v1/alerts").json()["items"][0]["id"]
        path = f"/v1/alerts/{alert}/acknowledge"
        is_problem(api.post(path, data="{}", headers={"Content-Type": "text/plain"}), 415)


@pytest.mark.parametrize(
    ("arguments", "settings", "words"),
    [
        (("--open", "--address", "0.0.0.0"), {}, "open to the network"),
        ((), {"warehouse_url": None}, "no key is in force"),
        (("--port", "{taken}"), {}, "cannot listen"),
    ],
)
def test_a_server_that_should_not_run_says_why_in_one_line(
    town, keys, postgres_server, tmp_path, arguments, settings, words
):
    """And exits with 2."""
    empty = made_world(tmp_path, postgres_server)
    world = empty if settings else town
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        line = [each.format(taken=taken.getsockname()[1]) for each in arguments]
        done = subprocess.run(
            [sys.executable, str(ROOT / "main.py"), "serve", *line],
            cwd=world.folder,
            env=environment(operator(world)),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 2, done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(said) == 1
    assert words in said[0]
    assert "Traceback" not in done.stderr


def test_a_key_made_twice_an_unknown_scope_and_a_strange_name_are_refused(town, keys):
    """In one line that says what to do."""
    for arguments, words in [
        (("a-read",), "is in force"),
        (("new", "--scope", "admin"), "no scope is called 'admin'"),
        (("a\nb",), "a key's name is"),
    ]:
        done = subprocess.run(
            [sys.executable, str(ROOT / "main.py"), "keys", "make", *arguments],
            cwd=town.folder,
            env=environment(operator(town)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert words in done.stderr


@given(number=st.binary(min_size=6, max_size=6))
def test_a_key_names_its_row_and_nothing_else_does(number):
    """The id is read off the text; a text that is no key names none."""
    name, text = text_of(number, "A" * 43)
    assert id_of(text) == name
    assert id_of(text + "A") == id_of(text[:-1]) == id_of(" " + text) == ""
    assert scopes_of(["score", "read"]) == ("read", "score")
    assert "digest" in API_KEYS.columns


def _until(is_so):
    for _ in range(80):
        if is_so():
            return
        time.sleep(0.1)
    raise AssertionError("it never came to that")
