"""E-mail over SMTP: encrypted, unless the server is this very machine."""

import base64
import ipaddress
import smtplib
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from functools import cached_property
from urllib.parse import unquote, urlsplit

from components.channels.letter import address, letter
from components.errors import ChannelError, PartlyDelivered, SettingsError
from components.records import Message
from components.words import clean

# Scheme -> port when the URL names none (RFC 6409, RFC 8314).
PORTS = {"smtp": 587, "smtps": 465, "smtp+plain": 25}


@dataclass(frozen=True)
class Server:
    """Where mail is handed in; ``password`` never prints."""

    scheme: str
    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)

    @property
    def place(self) -> str:
        """The server without its secrets."""
        return f"{self.scheme}://{self.host}:{self.port}"

    @property
    def needs_starttls(self) -> bool:
        """Whether the connection must be encrypted before anything is said.

        Credentials never travel in clear, not even to this machine.
        """
        return self.scheme == "smtp" and (bool(self.user) or not is_loopback(self.host))


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this very machine, by its literal name or address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def server_of(url: str) -> Server:
    """Read ``smtp://user:password@host:587``; user and password are percent-decoded.

    ``smtp`` demands STARTTLS (except on this machine, without credentials), ``smtps`` is
    encrypted from the first byte, ``smtp+plain`` is for a relay in one's own network and
    takes no credentials.

    Raises
    ------
    SettingsError
        Without the URL in its words: it may hold the password.
    """
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme, parts.hostname or "", parts.port
    except ValueError:
        scheme, host, port = "", "", None
    if scheme not in PORTS or not host or host != clean(host):
        raise SettingsError(
            "TREMOR_SMTP_URL is not of the form smtp://user:password@host:587 or smtps://... "
            "(write @ : / and % in a password as %40 %3A %2F and %25)."
        )
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if user and scheme == "smtp+plain":
        raise SettingsError(
            "TREMOR_SMTP_URL: smtp+plain:// would send the password in clear. Use smtp:// "
            "(STARTTLS) or smtps://."
        )
    return Server(scheme, host, port or PORTS[scheme], user, password)


@dataclass(frozen=True)
class Email:
    """Each message as one e-mail to all recipients.

    Parameters
    ----------
    url : str
        See ``server_of``.
    sender, recipients : str, tuple of str
        Addresses, with or without a display name.
    clock : callable
        Gives the Date header.
    report : str
        Path of the run's report, named in the mail; empty when there is none.
    tls : SSLContext, optional
        Whom to trust; the system's certificate authorities when not given.
    """

    url: str = field(repr=False)
    sender: str
    recipients: tuple[str, ...]
    clock: Callable[[], datetime]
    timeout_s: float = 30.0
    report: str = ""
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    name: str = "email"

    def __post_init__(self) -> None:
        """Refuse malformed settings before the first message."""
        _ = self._server, self._from, self._to
        if not self.recipients:
            raise SettingsError("TREMOR_ALERT_TO names no recipient.")

    def send(self, message: Message) -> None:
        """Hand the message in at the server; see ``Channel``."""
        mail = letter(message, self._from, self._to, self.clock(), self.report)
        with self._told():
            refused = self._hand_in(mail)
        if refused:
            replies = "; ".join(f"{who}: {_reply(*said)}" for who, said in refused.items())
            raise PartlyDelivered(
                f"{self._server.place} took the message for {len(self._to) - len(refused)} of "
                f"{len(self._to)} recipients and refused {self._safe(replies)}"
            )

    def probe(self) -> str:
        """Log in and name sender and recipients, and then take it back; see ``Channel``."""
        with self._told():
            refused = self._name_recipients()
        if refused:
            replies = "; ".join(f"{who}: {_reply(*said)}" for who, said in refused.items())
            raise self._error(f"refuses {replies}", False)
        return f"{self._server.place} takes messages for {len(self._to)} recipient(s)"

    def _hand_in(self, mail: EmailMessage) -> dict[str, tuple[int, bytes]]:
        with self._logged_in() as smtp:
            refused = smtp.send_message(mail)
            # The message is taken: a clumsy goodbye must not have it sent again.
            with suppress(smtplib.SMTPException, OSError):
                smtp.quit()
            return refused

    def _name_recipients(self) -> dict[str, tuple[int, bytes]]:
        with self._logged_in() as smtp:
            smtp.ehlo_or_helo_if_needed()
            code, said = smtp.mail(self._from.addr_spec)
            if code != 250:
                raise smtplib.SMTPSenderRefused(code, said, self._from.addr_spec)
            replies = {who.addr_spec: smtp.rcpt(who.addr_spec) for who in self._to}
            with suppress(smtplib.SMTPException, OSError):
                smtp.rset()
                smtp.quit()
            return {who: reply for who, reply in replies.items() if reply[0] not in (250, 251)}

    @contextmanager
    def _logged_in(self) -> Iterator[smtplib.SMTP]:
        smtp = self._connect()
        try:
            if self._server.user:
                smtp.login(self._server.user, self._server.password)
            yield smtp
        finally:
            smtp.close()

    def _connect(self) -> smtplib.SMTP:
        server, context = self._server, self.tls or ssl.create_default_context()
        if server.scheme == "smtps":
            return smtplib.SMTP_SSL(
                server.host, server.port, timeout=self.timeout_s, context=context
            )
        smtp = smtplib.SMTP(server.host, server.port, timeout=self.timeout_s)
        try:
            if server.needs_starttls:
                smtp.starttls(context=context)
        except BaseException:
            smtp.close()
            raise
        return smtp

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what SMTP and the network raise into one error without secrets."""
        try:
            yield
        except UnicodeError:
            # The original error holds the text it could not encode: the password.
            raise self._error("takes user and password in ASCII only", False) from None
        except (smtplib.SMTPException, OSError) as error:
            raise self._error(*_told_of(error, self._server)) from None

    def _error(self, what: str, retryable: bool) -> ChannelError:
        return ChannelError(f"{self._server.place} {self._safe(what)}", retryable=retryable)

    def _safe(self, words: str) -> str:
        """A server may repeat what it was sent, in clear or in base64."""
        user, password = self._server.user, self._server.password
        secrets = [password, *(_base64(t) for t in (password, f"\0{user}\0{password}"))]
        for secret in secrets if password else []:
            words = words.replace(secret, "***")
        return clean(words)

    @cached_property
    def _server(self) -> Server:
        return server_of(self.url)

    @cached_property
    def _from(self) -> Address:
        return address(self.sender, "TREMOR_ALERT_FROM")

    @cached_property
    def _to(self) -> tuple[Address, ...]:
        return tuple(address(text, "TREMOR_ALERT_TO") for text in self.recipients)


def _told_of(error: Exception, server: Server) -> tuple[str, bool]:
    """What happened in words, and whether another try may help."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        refused = error.recipients.items()
        replies = "; ".join(f"{who}: {_reply(*said)}" for who, said in refused)
        is_passing = all(_is_passing(code) for _, (code, _said) in refused)
        return f"refused every recipient: {replies}", is_passing
    if isinstance(error, smtplib.SMTPResponseException):
        is_login = isinstance(error, smtplib.SMTPAuthenticationError)
        what = "the user or the password" if is_login else "the message"
        said = _reply(error.smtp_code, error.smtp_error)
        return f"refused {what}: {said}", _is_passing(error.smtp_code)
    if isinstance(error, smtplib.SMTPNotSupportedError):
        lacks = "STARTTLS" if server.needs_starttls else "log-in that is known here"
        return f"offers no {lacks}; no credential and no message was sent", False
    return _broken(error)


def _broken(error: Exception) -> tuple[str, bool]:
    """The same for a connection that broke or never came about."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"shows a certificate that is not trusted: {error.verify_message}", False
    if isinstance(error, ssl.SSLError):
        return "speaks no TLS here: check the port, and smtp:// against smtps://", False
    # smtplib wraps a time-out into an error of its own.
    if isinstance(error, TimeoutError) or "timed out" in str(error):
        return "did not answer in time", True
    if isinstance(error, smtplib.SMTPServerDisconnected):
        return "hung up before it took the message", True
    reason = error.strerror if isinstance(error, OSError) else ""
    return f"is not reached: {reason or type(error).__name__}", True


def _reply(code: int, said: bytes | str) -> str:
    words = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return f"{code} {clean(words, 200)}"


def _is_passing(code: int) -> bool:
    """4xx says "not now"; so does -1, a connection that broke."""
    return code < 500


def _base64(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "replace")).decode("ascii")
