"""Athena as a source of payment volumes, against a server that runs the SQL for real."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pandas as pd
import pytest

from components.errors import (
    RateLimited,
    SourceError,
    SourceFormatError,
    SourceUnavailable,
    SymbolNotFound,
)
from components.records import CandleRequest
from components.sources.athena import opened
from tests.athena_server import athena_server, prepare_environment
from tests.proxies import free_port

QUERY = (
    "select country as series, date_trunc('hour', paid_at) as ts, sum(amount) as value "
    "from payments where paid_at >= :since and paid_at < :until and country not like '9%' "
    "group by 1, 2 -- 100 % of :them"
)


@pytest.fixture(scope="module")
def athena_url(tmp_path_factory):
    """The address of an Athena with a table of payments."""
    with athena_server(tmp_path_factory.mktemp("athena")) as url:
        yield url


@pytest.fixture
def athena(athena_url, monkeypatch):
    """The environment names the server, as an operator's does."""
    prepare_environment(monkeypatch, athena_url)


def ask(tmp_path, text=QUERY, **more):
    path = tmp_path / "payments.sql"
    path.write_text(text)
    settings = {"athena_database": "shop", "athena_output": "s3://pay/results", **more}
    return opened(measures_query=path, **settings)


def request_of(since="2024-01-01", until="2024-03-01", as_of="2024-06-01"):
    since, until, as_of = (pd.Timestamp(text, tz="UTC") for text in (since, until, as_of))
    return CandleRequest("payments", "2h", since, until, as_of)


def read(source, request=None):
    replies = [source.fetch(piece) for piece in source.pieces(request or request_of())]
    return replies, pd.concat([source.parse(reply).measures for reply in replies])


def test_months_are_read_and_summed(athena, tmp_path):
    """Each month is one query, both ends of it exact, and the same rows are the same bytes."""
    source = ask(tmp_path)
    replies, measures = read(source)
    rows = measures[measures["value"] != 0].sort_values(["ts", "series"])
    assert [(n, f"{t:%m-%d %H:%M}", v) for n, t, v, _ in rows.itertuples(index=False)] == [
        ("DE", "01-01 00:00", 10.5),
        ("DE", "01-31 22:00", 1.25),
        ("FR", "02-01 00:00", 2.0),
        ("D'E; -- %s", "02-10 10:00", 4.0),
        ("FR", "02-29 12:00", -0.75),
    ]
    assert [reply.status for reply in replies] == [200, 200]
    assert [reply.body for reply in read(source)[0]] == [reply.body for reply in replies]
    shown = f"{replies[0].url} {replies[0].details} {source!r}"
    assert "athena:primary/shop" in shown
    assert "secret-of-the-tests" not in shown


def test_times_without_an_offset_are_of_the_zone_of_the_settings(athena, tmp_path):
    """Months of Berlin, cut by Berlin's clock."""
    source = ask(tmp_path, time_zone="Europe/Berlin")
    _, measures = read(source, request_of("2023-12-31 23:00", "2024-02-29 23:00"))
    first = measures[measures["value"] != 0].sort_values("ts").iloc[0]
    assert first["ts"] == pd.Timestamp("2023-12-31 23:00", tz="UTC")
    assert measures["value"].sum() == 17.0


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (QUERY.replace("payments", "nosuch"), SymbolNotFound, r"nosuch.*TREMOR_ATHENA_DATABASE"),
        (QUERY.replace("sum(amount)", "sum(money)"), SourceFormatError, "does not run .*money"),
        (QUERY.replace("group by", "gruop by"), SourceFormatError, "does not run"),
        (QUERY.replace("as value", "as amount"), SourceFormatError, "gives the columns"),
    ],
)
def test_a_query_that_does_not_run_says_why(athena, tmp_path, text, kind, message):
    """In Athena's words and with the remedy, in one line; it is not tried again."""
    with pytest.raises(kind, match=message) as caught:
        read(ask(tmp_path, text))
    assert not isinstance(caught.value, SourceUnavailable)
    assert "\n" not in str(caught.value)


class StandIn:
    """Answers Athena's calls as told, and keeps the headers of every call."""

    def __init__(self, start=None, state="RUNNING", reason=""):
        self.start, self.state, self.reason = start, state, reason
        self.calls = []

    def __enter__(self):
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                call = self.headers["X-Amz-Target"].partition(".")[2]
                stand_in.calls.append((call, dict(self.headers)))
                status, body = stand_in.answer(call)
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def answer(self, call):
        """Give a status and a body."""
        if call == "StartQueryExecution":
            if self.start is not None:
                return 400, {"__type": self.start, "message": f"{self.start}: no"}
            return 200, {"QueryExecutionId": "11111111-2222-3333-4444-555555555555"}
        if call == "GetQueryExecution":
            status = {"State": self.state, "StateChangeReason": self.reason}
            return 200, {
                "QueryExecution": {"QueryExecutionId": "1", "Query": "select 1", "Status": status}
            }
        return 200, {}


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        ("AccessDeniedException", SourceError, "access refused .*TREMOR_ATHENA_OUTPUT"),
        ("UnrecognizedClientException", SourceError, "access refused"),
        ("ExpiredTokenException", SourceError, "session has expired .*Sign in again"),
        ("ThrottlingException", RateLimited, "asks for patience"),
        ("TooManyRequestsException", RateLimited, "asks for patience"),
        ("InternalServerException", SourceUnavailable, "did not finish"),
        ("InvalidRequestException", SourceFormatError, "does not run"),
    ],
)
def test_refusals_of_aws_have_their_remedies(tmp_path, monkeypatch, code, kind, message):
    """What a person must mend is not tried again; what passes by itself is."""
    with StandIn(start=code) as server:
        prepare_environment(monkeypatch, server.url)
        with pytest.raises(kind, match=message) as caught:
            read(ask(tmp_path))
    assert isinstance(caught.value, SourceUnavailable) == issubclass(kind, SourceUnavailable)
    assert "secret-of" not in str(caught.value)
    assert "token-of" not in str(caught.value)


@pytest.mark.parametrize(
    ("state", "reason", "kind", "message"),
    [
        ("CANCELLED", "Query cancelled by user", SourceUnavailable, "did not finish"),
        ("FAILED", "TABLE_NOT_FOUND: line 1:8: no table x", SymbolNotFound, "Correct the table"),
        ("FAILED", "SYNTAX_ERROR: line 1:8: mismatched input", SourceFormatError, "does not run"),
        ("FAILED", "Access denied when writing output", SourceError, "access refused"),
        ("FAILED", "Query exhausted resources at this scale factor", RateLimited, "patience"),
        ("FAILED", "GENERIC_INTERNAL_ERROR: oops", SourceUnavailable, "did not finish"),
        ("RUNNING", "", SourceUnavailable, r"took longer than 0\.5 s .*TREMOR_TIMEOUT_S"),
        ("QUEUED", "", SourceUnavailable, "took longer"),
    ],
)
def test_a_query_that_ends_badly_is_told(tmp_path, monkeypatch, state, reason, kind, message):
    """Cancelled, failed, or not done in time: then it is stopped, for it costs money."""
    with StandIn(state=state, reason=reason) as server:
        prepare_environment(monkeypatch, server.url)
        with pytest.raises(kind, match=message):
            read(ask(tmp_path, timeout_s=0.5))
    stopped = "StopQueryExecution" in {call for call, _ in server.calls}
    assert stopped == (state in ("RUNNING", "QUEUED"))


def test_a_session_token_reaches_the_server(tmp_path, monkeypatch):
    """Credentials come as AWS's tools take them, temporary ones with their token."""
    with StandIn(state="FAILED", reason="no") as server:
        prepare_environment(monkeypatch, server.url)
        with pytest.raises(SourceFormatError):
            read(ask(tmp_path))
    assert server.calls
    assert all(sent["X-Amz-Security-Token"] == "token-of-the-session" for _, sent in server.calls)


def test_a_dead_server_is_worth_another_try(tmp_path, monkeypatch):
    """Nobody listens."""
    prepare_environment(monkeypatch, f"http://127.0.0.1:{free_port()}")
    with pytest.raises(SourceUnavailable, match="did not finish"):
        read(ask(tmp_path))


def test_without_credentials_or_region_the_remedy_is_told(tmp_path, monkeypatch):
    """Before anything is sent."""
    prepare_environment(monkeypatch, f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(SourceError, match=r"access refused .*credentials"):
        read(ask(tmp_path))
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(SourceError, match="Set AWS_DEFAULT_REGION"):
        read(ask(tmp_path))
