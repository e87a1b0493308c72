"""The file of the micro and macro views' parameters: read, and watched while it may change."""

import hashlib
import logging
import os
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path

from components.errors import ParametersError
from components.parameters import MOST_BYTES, ParameterFile, Parameters, parse, refusal
from components.sessions import Calendars

log = logging.getLogger("tremor")

# A file may be written twice within one tick of its clock: so long its time says nothing.
TICK_S = 2.0


def read_file(path: Path) -> ParameterFile | None:
    """The whole file, checked; None where there is none.

    Raises
    ------
    ParametersError
        It cannot be read, or is not as it should be.
    """
    body = _body(path)
    return None if body is None else parse(body, str(path))


def _body(path: Path) -> bytes | None:
    try:
        # A pipe that nobody writes to would be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise refusal(str(path), "no file")
            with os.fdopen(descriptor, "rb", closefd=False) as stream:
                return stream.read(MOST_BYTES + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise refusal(str(path), f"cannot be read: {error.strerror}") from None


@dataclass
class Watched:
    """A file that may change at any time: the newest parameters in it that can be used.

    What cannot be used is refused with one line in the log, once a content, and what was there
    before stays in force. So does it when the file goes.

    Parameters
    ----------
    path : Path
        The file; it need not be there yet.
    interval : str
        Of its parameters those of this interval alone are taken.
    calendars : Calendars
        Which class an instrument is of.
    every_s : float
        The file is looked at no more often.
    symbols : tuple of str
        Those of which it is said that they have none.
    """

    path: Path
    interval: str
    calendars: Calendars
    every_s: float = 1.0
    symbols: tuple[str, ...] = ()
    _newest: Parameters | None = field(default=None, init=False)
    _looked_at: float = field(default=-float("inf"), init=False)
    _seen: tuple[int, ...] = field(default=(), init=False)
    _content: str = field(default="", init=False)
    _said: str = field(default="", init=False)

    def newest(self) -> Parameters | None:
        """The parameters in force; None before there were any."""
        now = time.monotonic()
        if now - self._looked_at >= self.every_s:
            self._looked_at = now
            self._look()
        return self._newest

    def _look(self) -> None:
        try:
            seen = _mark(self.path)
            if seen and seen == self._seen:
                return
            body = _body(self.path)
            # Changed meanwhile, or too young to tell: it is read again the next time.
            self._seen = seen if _mark(self.path) == seen and _is_settled(seen) else ()
            content = "" if body is None else hashlib.sha256(body).hexdigest()
            if content == self._content:
                return
            self._content = content
            self._take(None if body is None else parse(body, str(self.path)))
        except ParametersError as error:
            self._refuse(str(error))

    def _take(self, file: ParameterFile | None) -> None:
        if file is None:
            self._refuse(f"{self.path} is gone.")
            return
        found = file.of(self.interval, self.calendars)
        if found is None:
            self._refuse(str(none_of(self.path, file, self.interval)))
            return
        self._newest, self._said = found, ""
        log.info("parameters %s of %s, made %s", found.version, self.path, file.made_at)
        if lacking := found.lacking(self.symbols):
            log.warning("%s", lacking)

    def _refuse(self, why: str) -> None:
        # A folder or a pipe has no content, and is refused at each look.
        if why == self._said:
            return
        self._said = why
        kept = f"those of version {self._newest.version} stay" if self._newest else "there are none"
        log.warning("%s In force: %s.", why, kept)


def _mark(path: Path) -> tuple[int, ...]:
    """What changes whenever the file does; nothing where there is no file."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino


def _is_settled(seen: tuple[int, ...]) -> bool:
    return bool(seen) and abs(time.time() - seen[0] / 1e9) > TICK_S


def none_of(path: Path, file: ParameterFile, interval: str) -> ParametersError:
    """The refusal of a file that holds other intervals alone: nothing is transplanted."""
    others = ", ".join(file.intervals) or "no interval"
    return ParametersError(
        f"{path}: holds {others}, nothing of {interval}. Add it with "
        f"`python main.py train parameters --interval {interval}`."
    )
