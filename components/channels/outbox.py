"""The e-mail as a file, for a machine without a mail server."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from functools import cached_property
from pathlib import Path

from components.channels.letter import address, digest, letter
from components.errors import ChannelError
from components.records import Message


@dataclass(frozen=True)
class Outbox:
    """Each message as one ``.eml`` file that any mail program opens.

    A file is there whole or not at all; a message that is sent again overwrites its file.
    """

    folder: Path
    sender: str
    recipients: tuple[str, ...]
    clock: Callable[[], datetime]
    report: str = ""
    name: str = "outbox"

    def __post_init__(self) -> None:
        """Refuse malformed settings before the first message."""
        _ = self._from, self._to

    def send(self, message: Message) -> None:
        """Write the message's file; see ``Channel``."""
        mail = letter(message, self._from, self._to, self.clock(), self.report)
        self._put(file_name(message), mail.as_bytes())

    def probe(self) -> str:
        """Write a file and remove it; see ``Channel``."""
        self._put(".probe", b"")
        (self.folder / ".probe").unlink(missing_ok=True)
        return f"no mail server is set: messages become files in {self.folder}"

    def _put(self, name: str, content: bytes) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(self.folder / name, content)
        except OSError as error:
            raise ChannelError(
                f"outbox {self.folder} could not be written: {error.strerror}. Check its "
                "permissions and the disk's space.",
                retryable=False,
            ) from error

    @cached_property
    def _from(self) -> Address:
        return address(self.sender, "TREMOR_ALERT_FROM")

    @cached_property
    def _to(self) -> tuple[Address, ...]:
        return tuple(address(text, "TREMOR_ALERT_TO") for text in self.recipients)


def file_name(message: Message) -> str:
    """The run's instant and the message's digest: the same message, the same name."""
    as_of = "".join(char for char in message.as_of if char.isascii() and char.isalnum())
    return f"{as_of[:24]}-{digest(message)}.eml"


def _write(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
