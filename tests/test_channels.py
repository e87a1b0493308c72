"""The channels against real servers on loopback: what arrives is what was told, or an error."""

import base64
import dataclasses
import email
import io
import json
import socket
import ssl
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.policy import default
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.channels import CHANNELS, open_channel, render
from components.channels.console import Console
from components.channels.email import Email, server_of
from components.channels.kafka import Kafka
from components.channels.letter import address, letter
from components.channels.outbox import Outbox
from components.channels.webhook import Webhook, payload
from components.errors import (
    BrokerError,
    ChannelError,
    PartlyDelivered,
    SettingsError,
    UnknownName,
)
from components.records import alert_from_json
from tests.builders import alert, data_alert, finding, market_alert, message, rich_finding
from tests.proxies import free_port

SENDER, TO = "Tremor <tremor@example.com>", ("analyst@example.com", "desk@example.com")
PASSWORD = "p@ss:w/rd%"
CREDENTIALS = "analyst%40example.com:p%40ss%3Aw%2Frd%25"


def clock() -> datetime:
    return datetime(2024, 3, 13, 6, 0, tzinfo=UTC)


MESSAGE = message(alert(finding("ACME"), finding("BETA")), data_alert())


class Inbox:
    """A mail server's handler that keeps what arrives and refuses what it is told to."""

    def __init__(self, *, data="250 OK", refuse=()):
        self.mails, self.logins, self.data, self.refuse = [], [], data, refuse

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        """Take or refuse a recipient."""
        if address in self.refuse:
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        """Take or refuse a mail."""
        if self.data.startswith("250"):
            self.mails.append(envelope)
        return self.data

    def login(self, server, session, envelope, mechanism, data):
        """Note the credentials; one password is right."""
        self.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=data.password.decode() == PASSWORD, handled=False)


@contextmanager
def mail_server(inbox, **options):
    server = Controller(inbox, hostname="127.0.0.1", port=free_port(), **options)
    server.start()
    try:
        yield f"127.0.0.1:{server.port}"
    finally:
        server.stop()


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """A server's TLS context with a certificate made here, and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cafile=str(path))


def mailer(url: str, **options) -> Email:
    return Email(url, SENDER, TO, clock, **{"timeout_s": 5.0, **options})


def parsed(content: bytes):
    return email.message_from_bytes(content, policy=default)


def test_every_channel_opens_by_its_name(tmp_path):
    """The registry's lines name classes that exist."""
    mail = {"sender": SENDER, "recipients": TO, "clock": clock}
    options = {
        "console": {"stream": io.StringIO()},
        "email": {"url": "smtps://mail.example.com", **mail},
        "outbox": {"folder": tmp_path, **mail},
        "kafka": {"publish": lambda rows: None, "reach": lambda: "there"},
        "webhook": {"url": "https://example.com/hook"},
    }
    assert {open_channel(name, **options[name]).name for name in CHANNELS} == set(CHANNELS)
    with pytest.raises(UnknownName, match="no channel is called 'pigeon'"):
        open_channel("pigeon")


def test_a_plain_server_on_this_machine_gets_the_whole_mail():
    """Headers, text, HTML and pictures arrive as they were made."""
    inbox = Inbox()
    with mail_server(inbox) as place:
        mailer(f"smtp://{place}").send(MESSAGE)
    (envelope,) = inbox.mails
    mail = parsed(envelope.content)
    assert envelope.rcpt_tos == list(TO)
    assert envelope.mail_from == "tremor@example.com"
    assert mail["Subject"] == "Tremor 2024-03-12: 2 of 6 instruments unusual (+ data trouble)"
    assert mail["To"] == ", ".join(TO)
    assert mail["Date"].datetime == clock()
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["MIME-Version"] == "1.0"
    assert "ACME" in mail.get_body(("plain",)).get_content()
    assert "ACME" in mail.get_body(("html",)).get_content()


def test_the_parts_are_alternatives_and_every_picture_is_named_by_the_page():
    """multipart/alternative (text, multipart/related (HTML, PNG ...)); each cid is used once."""
    mail = parsed(letter_of(MESSAGE).as_bytes())
    kinds = [part.get_content_type() for part in mail.walk()]
    assert kinds == [
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "image/png",
        "image/png",
    ]
    page = mail.get_body(("html",)).get_content()
    pictures = [part for part in mail.walk() if part.get_content_type() == "image/png"]
    for part in pictures:
        assert page.count(f'src="cid:{part["Content-ID"][1:-1]}"') == 1
        assert part.get_content().startswith(b"\x89PNG")
        assert part.get_content_disposition() == "inline"
    assert page.count("cid:") == len(pictures)


def letter_of(told, date=clock, report=""):
    to = tuple(address(text, "TREMOR_ALERT_TO") for text in TO)
    return letter(told, address(SENDER, "TREMOR_ALERT_FROM"), to, date(), report)


def test_the_same_message_is_the_same_mail():
    """Boundaries, ids and pictures are functions of the message."""
    assert letter_of(MESSAGE).as_bytes() == letter_of(MESSAGE).as_bytes()
    other = dataclasses.replace(MESSAGE, id="another")
    assert letter_of(other)["Message-ID"] != letter_of(MESSAGE)["Message-ID"]
    assert letter_of(MESSAGE)["Message-ID"].endswith("@example.com>")


def test_a_subject_beyond_ascii_comes_back_whole():
    """RFC 2047, as mail programs read it."""
    told = message(alert(finding("株価"), headline="株価 -3,2 % ungewöhnlich €"))
    assert parsed(letter_of(told).as_bytes())["Subject"] == (
        "Tremor 2024-03-12: 株価 -3,2 % ungewöhnlich €"
    )


@pytest.mark.parametrize(
    "recipient",
    [
        "a@example.com\r\nBcc: b@example.com",
        "a@example.com\n",
        "no address",
        "",
        "a@b@c",
        "ä@example.com",
    ],
)
def test_an_address_that_could_carry_a_header_is_refused(recipient):
    """One clear error that names the setting, before anything is sent."""
    with pytest.raises(SettingsError, match="TREMOR_ALERT_TO"):
        Email("smtps://mail.example.com", SENDER, (recipient,), clock)
    with pytest.raises(SettingsError, match="TREMOR_ALERT_FROM"):
        Email("smtps://mail.example.com", recipient, TO, clock)


HEADERS = {
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "MIME-Version",
    "Content-Type",
}
ANY_TEXT = st.text(max_size=80) | st.sampled_from(
    ["a\r\nBcc: b@example.com", "\ud800", "<script>", "{{ 7*7 }}", "$x^{$", "\u202e", "é" * 300]
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(symbol=ANY_TEXT, headline=ANY_TEXT, identity=ANY_TEXT, note=ANY_TEXT)
def test_whatever_an_instrument_is_called_the_mail_has_no_header_of_its_making(
    symbol, headline, identity, note
):
    """Text from outside stays text: no header, no part, no markup."""
    chartless = finding(symbol, chart=None, reasons=(note,))
    told = message(alert(chartless, headline=headline, notes=(note,)), id=identity)
    raw = letter_of(told).as_bytes()
    mail = parsed(raw)
    assert set(mail.keys()) == HEADERS
    assert len(mail.keys()) == len(HEADERS)
    assert all(not part.defects for part in mail.walk())
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    assert "<script>" not in mail.get_body(("html",)).get_content()
    assert mail["Subject"] == render.subject(told)
    render.text(told).encode()


def test_ten_thousand_instruments_still_make_a_readable_mail():
    """Six charts, a hundred rows, a count of the rest, and less than 5 MB."""
    crowd = alert(*(finding(f"S{n}") for n in range(10_000)), headline="10,000 of 10,000 unusual")
    mail = letter_of(message(crowd, data_alert(*(f"N{n}: late" for n in range(10_000)))))
    assert len(mail.as_bytes()) < 1_000_000
    assert sum(part.get_content_type() == "image/png" for part in mail.walk()) == 6
    for kind in ("plain", "html"):
        words = mail.get_body((kind,)).get_content()
        assert "and 9,894 more" in words
        assert "and 9,940 more" in words


def test_one_message_tells_anomalies_then_corrections_then_data():
    """Whatever the order it came in."""
    fix = alert(kind="correction", headline="BETA now normal after a correction")
    told = message(data_alert(), fix, alert(finding()))
    text = render.text(told)
    assert text.index("ACME") < text.index("BETA now normal") < text.index("data trouble with")
    assert render.subject(told).endswith("unusual (+ 1 correction, data trouble)")


def test_a_market_wide_day_is_told_before_its_instruments():
    """The market first, then who went beyond it with a picture, then a list of the others."""
    told = message(alert(finding("OTHER")), market_alert(120, rich_finding("ACME")))
    assert [each.kind for each in render.ordered(told)] == ["market", "anomaly"]
    assert render.subject(told).endswith("with it and beyond it (+ 1 more alert)")
    for words in (render.text(told), render.html(told, {})):
        places = [
            words.lower().index(text.lower())
            for text in ("the median of 60", "ACME", "Moved with the market", "S0", "OTHER")
        ]
        assert places == sorted(places)
        assert "and 20 more" in words
    assert [found.symbol for _, found in render.carded(told)] == ["ACME", "OTHER"]


def test_where_all_moved_with_the_market_the_first_are_shown_as_examples():
    """A picture and reasons of two; the list still names all of them."""
    with_it = [rich_finding(f"S{n}") for n in range(4)]
    told = message(replace(market_alert(0), findings=tuple(with_it), n_folded=4))
    assert [found.symbol for _, found in render.carded(told)] == ["S0", "S1"]
    text = render.text(told)
    assert text.count("closed 11.8 % below") == 2
    assert text.index("closed 11.8") < text.index("Moved with the market:") < text.index("  S3 ")


def test_a_market_wide_day_without_instruments_is_a_message():
    """Nobody beyond, nobody with it: the market's own move is all there is."""
    told = message(market_alert(0))
    assert "the median of 60 instruments" in render.text(told)
    assert "The median of 60 instruments" in render.html(told, {})
    assert payload(told)["alerts"][0]["n_findings"] == 0


def test_the_level_is_in_the_row_the_card_and_the_list():
    """HIGH is seen at a glance; an alert of an older release has no level and no empty badge."""
    told = message(alert(rich_finding(), *(finding(f"S{n}", level=2) for n in range(8))))
    assert "ACME          -11.8 %  HIGH, 5.0 times its usual move" in render.text(told)
    page = render.html(told, {})
    assert page.count(">HIGH</span>") == 1
    assert page.count(">MEDIUM<") == 8
    assert "surprise 2.4" in page
    assert "HIGH" not in render.html(message(alert(finding())), {})


def test_the_first_three_reasons_stand_out():
    """What happened, how rare, whose move: the rest is for who reads on."""
    found = finding(reasons=tuple(f"reason number {n}" for n in range(6)))
    first, rest = render.html(message(alert(found)), {}).split("eason number 3")
    assert first.count("<ul") == 2
    assert "eason number 2" in first
    assert "eason number 5" in rest


def test_data_trouble_and_an_all_clear_have_subjects_of_their_own():
    """Silence is alarmed, calm can be asked for."""
    assert (
        render.subject(message(data_alert()))
        == "Tremor 2024-03-13: data trouble with 2 instruments"
    )
    calm = message(all_clear="all clear, 50 instruments judged")
    assert render.subject(calm) == "Tremor 2024-03-13: all clear, 50 instruments judged"
    assert "all clear" in render.html(calm, {}).lower()


def test_the_text_says_how_to_acknowledge():
    """By the alert's id, as a command to paste."""
    assert "python main.py alerts acknowledge anomaly-1d-20240312" in render.text(MESSAGE)
    assert "python main.py alerts acknowledge anomaly-1d-20240312" in render.html(MESSAGE, {})


def test_starttls_comes_before_the_credentials(tls):
    """Over smtp:// the log-in is encrypted; user and password are percent-decoded."""
    inbox = Inbox()
    options = {"tls_context": tls[0], "require_starttls": True, "authenticator": inbox.login}
    with mail_server(inbox, **options) as place:
        mailer(f"smtp://{CREDENTIALS}@{place}", tls=tls[1]).send(MESSAGE)
    assert inbox.logins == [("analyst@example.com", PASSWORD)]
    assert len(inbox.mails) == 1


def test_implicit_tls_delivers(tls):
    """smtps:// is encrypted from the first byte."""
    inbox = Inbox()
    options = {"ssl_context": tls[0], "authenticator": inbox.login, "auth_require_tls": False}
    with mail_server(inbox, **options) as place:
        mailer(f"smtps://{CREDENTIALS}@{place}", tls=tls[1]).send(MESSAGE)
    assert len(inbox.logins) == len(inbox.mails) == 1


def test_a_certificate_that_nobody_vouches_for_is_refused(tls):
    """No mail, no credentials, no use in trying again."""
    inbox = Inbox()
    with mail_server(inbox, ssl_context=tls[0]) as place:
        error = failure(mailer(f"smtps://{CREDENTIALS}@{place}"))
    assert "certificate" in str(error)
    assert not error.retryable
    assert not inbox.mails


def failure(channel, told=MESSAGE) -> ChannelError:
    with pytest.raises(ChannelError) as caught:
        channel.send(told)
    words = f"{caught.value} {caught.value!r} {channel!r}"
    for secret in (PASSWORD, "p%40ss", base64.b64encode(PASSWORD.encode()).decode(), "T000SECRET"):
        assert secret not in words
    assert "\n" not in str(caught.value)
    return caught.value


def test_credentials_are_never_sent_in_clear():
    """Not even to this machine, and not to a server whose STARTTLS was stripped."""
    inbox = Inbox()
    options = {"authenticator": inbox.login, "auth_require_tls": False}
    with mail_server(inbox, **options) as place:
        error = failure(mailer(f"smtp://{CREDENTIALS}@{place}"))
    assert "STARTTLS" in str(error)
    assert not error.retryable
    assert not inbox.logins
    assert server_of("smtp://mail.example.com").needs_starttls
    with pytest.raises(SettingsError, match="in clear"):
        server_of(f"smtp+plain://{CREDENTIALS}@relay.example.com")


def test_a_wrong_password_is_not_tried_again(tls):
    """A second try would lock the account."""
    inbox = Inbox()
    options = {"tls_context": tls[0], "require_starttls": True, "authenticator": inbox.login}
    with mail_server(inbox, **options) as place:
        error = failure(mailer(f"smtp://analyst:wrong@{place}", tls=tls[1]))
    assert "refused the user or the password: 535" in str(error)
    assert not error.retryable


@pytest.mark.parametrize(
    ("data", "retryable"),
    [("451 4.3.0 try again later", True), ("554 5.7.1 looks like spam", False)],
)
def test_a_refusal_is_worth_another_try_when_the_server_says_so(data, retryable):
    """4xx is for now, 5xx for good; the server's words are told."""
    with mail_server(Inbox(data=data)) as place:
        error = failure(mailer(f"smtp://{place}"))
    assert error.retryable is retryable
    assert data in str(error)


def test_recipients_refused_in_part_are_told():
    """The others have the mail, so that this is no failure to repeat."""
    inbox = Inbox(refuse=("desk@example.com",))
    with mail_server(inbox) as place:
        error = failure(mailer(f"smtp://{place}"))
    assert isinstance(error, PartlyDelivered)
    assert not error.retryable
    assert "1 of 2 recipients" in str(error)
    assert "desk@example.com: 550" in str(error)
    assert len(inbox.mails) == 1


def test_all_recipients_refused_is_a_failure():
    """Nobody has it."""
    with mail_server(Inbox(refuse=TO)) as place:
        error = failure(mailer(f"smtp://{place}"))
    assert not isinstance(error, PartlyDelivered)
    assert not error.retryable
    assert "refused every recipient" in str(error)


@contextmanager
def talker(*replies: bytes, pause_s: float = 0.0):
    """A server that says these lines, one for each it hears, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            with listening.accept()[0] as peer:
                for reply in replies:
                    peer.sendall(reply)
                    peer.recv(4096)
                time.sleep(pause_s)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        thread.join(5)


def test_a_server_that_hangs_up_half_way_is_tried_again():
    """After DATA has begun, before it was taken: the mail may come twice, never not at all."""
    with talker(
        b"220 hi\r\n", b"250 hi\r\n", b"250 ok\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"
    ) as place:
        error = failure(mailer(f"smtp://{place}"))
    assert "hung up" in str(error)
    assert error.retryable


def test_a_server_that_says_nothing_does_not_hold_the_run_up():
    """The time-out ends it."""
    with talker(pause_s=0.6) as place:
        started = time.monotonic()
        error = failure(mailer(f"smtp://{place}", timeout_s=0.2))
    assert time.monotonic() - started < 3
    assert "did not answer in time" in str(error)
    assert error.retryable


def test_a_server_that_is_down_is_named():
    """Scheme, host and port, without user and password."""
    port = free_port()
    error = failure(mailer(f"smtps://{CREDENTIALS}@127.0.0.1:{port}"))
    assert str(error).startswith(f"smtps://127.0.0.1:{port} is not reached")
    assert error.retryable


@pytest.mark.parametrize(
    "url",
    ["", "mail.example.com", "http://mail.example.com", "smtp://", "smtp://u:s3cret@host:port"],
)
def test_a_malformed_mail_url_is_refused_without_being_shown(url):
    """It may hold the password."""
    with pytest.raises(SettingsError, match="TREMOR_SMTP_URL") as caught:
        server_of(url)
    assert "s3cret" not in str(caught.value)


def outbox(folder) -> Outbox:
    return Outbox(folder / "outbox", SENDER, TO, clock)


def test_the_outbox_holds_each_message_once(tmp_path):
    """Sent again, a message overwrites its file; the file is a mail."""
    for _ in range(2):
        outbox(tmp_path).send(MESSAGE)
    outbox(tmp_path).send(dataclasses.replace(MESSAGE, id="../../another"))
    files = sorted((tmp_path / "outbox").iterdir())
    assert len(files) == 2
    assert all(file.suffix == ".eml" and file.name.startswith("20240313T060000") for file in files)
    assert {parsed(file.read_bytes())["Subject"] for file in files} == {render.subject(MESSAGE)}


def test_an_outbox_that_cannot_be_written_is_told_and_leaves_nothing(tmp_path):
    """A file stands where the folder should be."""
    (tmp_path / "outbox").write_text("in the way")
    error = failure(outbox(tmp_path))
    assert "could not be written" in str(error)
    assert (tmp_path / "outbox").read_text() == "in the way"


def test_the_console_writes_plain_text_where_there_is_no_terminal():
    """No colour codes in a log file, no control code from outside anywhere."""
    stream = io.StringIO()
    Console(stream).send(message(alert(finding("\x1b[31mACME"))))
    assert "ACME" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_the_console_writes_to_a_stream_that_knows_ascii_only():
    """A question mark is better than no alert."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Console(stream).send(message(alert(finding("株価"))))
    assert b"??" in raw.getvalue()


def test_the_console_colours_a_terminal():
    """Words stay the same."""

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    Console(stream).send(MESSAGE)
    assert "ACME" in stream.getvalue()


def test_a_closed_stream_is_a_channels_error():
    """The reader went away."""
    stream = io.StringIO()
    stream.close()
    failure(Console(stream))


@contextmanager
def web_server(status=200, headers=(), body=b"ok", pause_s=0.0):
    """A web server that answers so, and the list of what it was sent."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            seen.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            time.sleep(pause_s)
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/services/T000SECRET", seen
    finally:
        server.shutdown()
        server.server_close()


def test_the_webhook_posts_a_text_and_the_alerts():
    """Slack shows ``text``; a program reads ``alerts``."""
    with web_server() as (url, seen):
        Webhook(url).send(MESSAGE)
    ((path, body),) = seen
    told = json.loads(body)
    assert path == "/services/T000SECRET"
    assert "ACME" in told["text"]
    assert [each["kind"] for each in told["alerts"]] == ["anomaly", "data"]
    assert told["alerts"][0]["findings"][0]["move"] == -0.118


def test_the_webhooks_numbers_are_json_and_its_text_no_command():
    """NaN becomes null; <!channel> is not a call to everybody."""
    told = message(alert(finding("<!channel>", market=float("nan"))))
    posted = payload(told)
    assert (
        json.loads(json.dumps(posted, allow_nan=False))["alerts"][0]["findings"][0]["market"]
        is None
    )
    assert "<!channel>" not in posted["text"]
    assert "&lt;!channel&gt;" in posted["text"]


def test_the_webhook_carries_the_explanation_as_data():
    """A program reads the split, the views, and what followed similar days."""
    (told,) = payload(message(market_alert(1, rich_finding())))["alerts"]
    found, with_it = told["findings"]
    assert (told["kind"], told["calendar"], told["n_folded"]) == ("market", "XNYS", 1)
    assert found["level"] == "HIGH"
    assert found["market_part"] + found["own_part"] == pytest.approx(found["move"])
    assert [view["stance"] for view in found["views"]] == ["voted", "against", "abstained"]
    assert found["views"][2] == {
        "name": "pump",
        "stance": "abstained",
        "p": None,
        "why": "no volume data",
    }
    assert found["followed"][1]["volatility"] == 1.4
    assert with_it["similar"] == []


def test_the_webhook_stays_small_with_ten_thousand_instruments():
    """Slack refuses long texts; the number of findings is still told."""
    crowd = message(alert(*(finding(f"S{n}") for n in range(10_000))))
    posted = payload(crowd)
    assert len(json.dumps(posted)) < 200_000
    assert posted["alerts"][0]["n_findings"] == 10_000


@pytest.mark.parametrize(
    ("status", "retryable"), [(400, False), (404, False), (429, True), (500, True), (503, True)]
)
def test_a_webhooks_refusal_is_told_without_the_secret(status, retryable):
    """429 and 5xx are worth another try; the address's path is a secret."""
    with web_server(status, body=b"no: /services/T000SECRET is bad") as (url, _):
        error = failure(Webhook(url))
    assert error.retryable is retryable
    assert f"http://127.0.0.1 answered {status}" in str(error)


def test_a_redirect_is_not_followed():
    """The alerts go where the operator said, nowhere else."""
    with web_server() as (elsewhere, seen), web_server(307, [("Location", elsewhere)]) as (url, _):
        error = failure(Webhook(url))
    assert not seen
    assert "redirect" in str(error)
    assert not error.retryable


def test_a_webhook_that_is_slow_or_down_is_tried_again():
    """Neither holds the run up."""
    with web_server(pause_s=0.5) as (url, _):
        error = failure(Webhook(url, timeout_s=0.1))
    assert "in time" in str(error)
    assert error.retryable
    down = failure(Webhook(f"http://127.0.0.1:{free_port()}/T000SECRET"))
    assert down.retryable


@pytest.mark.parametrize("url", ["http://example.com/T000SECRET", "example.com", "", "ftp://x/y"])
def test_a_webhook_demands_https(url):
    """The path is a secret, so it never travels in clear; the error does not show it."""
    with pytest.raises(SettingsError, match="TREMOR_WEBHOOK_URL") as caught:
        Webhook(url)
    assert "T000SECRET" not in str(caught.value)


def test_a_broker_gets_a_row_an_alert_and_says_whether_waiting_helps():
    """Nothing of an all-clear; what the broker says, in one line, and whether to try again."""
    sent = []
    channel = Kafka(sent.append, lambda: "there")
    channel.send(MESSAGE)
    channel.send(replace(MESSAGE, alerts=()))
    (rows,) = sent
    assert list(rows["id"]) == [each.id for each in MESSAGE.alerts]
    assert alert_from_json(rows["payload"].iloc[0]) == MESSAGE.alerts[0]
    assert channel.probe() == "there"

    def refuse(*_):
        raise BrokerError("Kafka at host:9092: no answer.", is_transient=True)

    for act in (lambda: Kafka(refuse, refuse).send(MESSAGE), Kafka(refuse, refuse).probe):
        with pytest.raises(ChannelError, match="no answer") as error:
            act()
        assert error.value.retryable
