"""Passwords kept as salted hashes in one line of text, and patience with wrong guesses."""

import base64
import binascii
import hashlib
import hmac
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from components.errors import SettingsError

# What OWASP names as the least for scrypt: 128 * N * R bytes, 32 MB, and a tenth of a second.
N, R, P = 2**15, 8, 3

# A line that asks for more than this would stop whoever checks it.
MOST_BYTES, MOST_P = 2**28, 16

# So many wrong guesses in a row cost nothing; each next one doubles the wait, up to the longest.
FREE_GUESSES, LONGEST_WAIT_S = 3, 60.0


def hashed(password: str, salt: bytes | None = None) -> str:
    """The line to keep of a password: ``scrypt$n$r$p$salt$hash``, the last two in base64.

    Parameters
    ----------
    salt : bytes, optional
        By default 16 random ones.

    Raises
    ------
    SettingsError
        The password is empty.
    """
    if not password:
        raise SettingsError("a password must not be empty. Write one.")
    salt = secrets.token_bytes(16) if salt is None else salt
    found = _scrypt(password, salt, N, R, P)
    return f"scrypt${N}${R}${P}${_text(salt)}${_text(found)}"


def is_right(password: str, line: str) -> bool:
    """Whether a password is the one of which ``hashed`` made the line; compared in constant time.

    Raises
    ------
    SettingsError
        It is no such line.
    """
    n, r, p, salt, kept = _parts(line)
    return hmac.compare_digest(_scrypt(password, salt, n, r, p), kept)


def require_line(line: str) -> None:
    """Refuse what ``hashed`` cannot have made.

    Raises
    ------
    SettingsError
        It is no such line; the text is not shown.
    """
    _parts(line)


@dataclass
class Patience:
    """One lock for all who guess: after some wrong guesses each next one has to wait longer.

    Guesses are checked one at a time, so that many at once are no faster.
    """

    _wrong: int = 0
    _until: float = 0.0
    _guard: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def tried(self, is_it: Callable[[], bool], clock: Callable[[], float]) -> tuple[bool, float]:
        """Check a guess, unless it comes too early: whether it is right, and s to wait then.

        A guess that comes too early is not checked, and lengthens nothing.
        """
        with self._guard:
            if (left := self._until - clock()) > 0:
                return False, left
            if is_it():
                self._wrong, self._until = 0, 0.0
                return True, 0.0
            self._wrong += 1
            wait = self._wait()
            self._until = clock() + wait
            return False, wait

    def _wait(self) -> float:
        beyond = self._wrong - FREE_GUESSES
        return 0.0 if beyond < 0 else min(2.0 ** min(beyond, 16), LONGEST_WAIT_S)


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    # Half a character, which no encoding has, is refused by none and equal to none.
    guess = password.encode("utf-8", "surrogatepass")
    room = 128 * r * (n + p + 2)
    return hashlib.scrypt(guess, salt=salt, n=n, r=r, p=p, maxmem=room, dklen=32)


def _parts(line: str) -> tuple[int, int, int, bytes, bytes]:
    try:
        kind, n, r, p, salt, kept = line.split("$")
        costs = int(n), int(r), int(p)
        texts = base64.b64decode(salt, validate=True), base64.b64decode(kept, validate=True)
    except (ValueError, binascii.Error):
        raise _no_line() from None
    is_power = costs[0] > 1 and costs[0] & (costs[0] - 1) == 0
    is_bounded = costs[1] > 0 and 0 < costs[2] <= MOST_P and 128 * costs[0] * costs[1] <= MOST_BYTES
    if kind != "scrypt" or not (is_power and is_bounded and texts[0]) or len(texts[1]) != 32:
        raise _no_line()
    return *costs, *texts


def _no_line() -> SettingsError:
    return SettingsError(
        "TREMOR_DASHBOARD_PASSWORD_HASH is no line of scrypt$n$r$p$salt$hash. "
        "Make one with `python main.py keys password`."
    )


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
