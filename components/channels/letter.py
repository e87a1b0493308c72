"""A message as an e-mail: the same message, sender and date give the same bytes."""

import hashlib
import re
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr

from components.channels import render
from components.errors import SettingsError
from components.records import Message
from components.words import clean

_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")


def address(text: str, setting: str) -> Address:
    """Read ``analyst@example.com`` or ``Desk <analyst@example.com>``.

    Raises
    ------
    SettingsError
        The text holds a line break or another control character, or is no ASCII address.
    """
    name, spec = parseaddr(text) if text == clean(text) else ("", "")
    if not _ADDRESS.fullmatch(spec) or ".." in spec:
        raise SettingsError(
            f"{setting}: {clean(text, 80)!r} is no e-mail address. Write it as "
            "analyst@example.com, in ASCII, without line breaks."
        )
    return Address(display_name=name, addr_spec=spec)


def digest(message: Message) -> str:
    """What names a message in headers and file names, whatever its id is made of."""
    return hashlib.sha256(message.id.encode("utf-8", "surrogatepass")).hexdigest()[:20]


def letter(
    message: Message,
    sender: Address,
    recipients: tuple[Address, ...],
    date: datetime,
    report: str = "",
) -> EmailMessage:
    """The message with text, HTML and inline pictures.

    Parameters
    ----------
    date : datetime
        For the Date header; aware of its time zone.
    report : str
        Path of the run's report; empty when there is none.
    """
    mail = EmailMessage(policy=SMTP)
    _put_headers(mail, message, sender, recipients, date)
    pictures = render.charts(message)
    cids = {key: f"chart{n}.{digest(message)}@{sender.domain}" for n, key in enumerate(pictures)}
    mail.set_content(render.text(message, report))
    page = render.html(message, {key: f"cid:{cid}" for key, cid in cids.items()}, report)
    mail.add_alternative(page, subtype="html")
    shown = mail.get_body(("html",))
    if not isinstance(shown, EmailMessage):
        raise TypeError("a mail made here has an HTML part")
    for n, (key, png) in enumerate(pictures.items()):
        name = f"chart{n}.png"
        shown.add_related(
            png, "image", "png", cid=f"<{cids[key]}>", filename=name, disposition="inline"
        )
    _fix_boundaries(mail, digest(message))
    return mail


def _put_headers(
    mail: EmailMessage,
    message: Message,
    sender: Address,
    recipients: tuple[Address, ...],
    date: datetime,
) -> None:
    mail["From"] = sender
    mail["To"] = recipients
    mail["Subject"] = render.subject(message)
    mail["Date"] = format_datetime(date)
    mail["Message-ID"] = f"<tremor.{digest(message)}@{sender.domain}>"
    # RFC 3834: keeps out-of-office replies away.
    mail["Auto-Submitted"] = "auto-generated"


def _fix_boundaries(mail: EmailMessage, name: str) -> None:
    """Left alone, boundaries are random, and equal messages would differ."""
    for n, part in enumerate(mail.walk()):
        if part.is_multipart():
            part.set_boundary(f"=_tremor_{name}_{n}")
