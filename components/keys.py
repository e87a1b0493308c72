"""Keys of the API: made once, shown once, kept as a digest. Pure."""

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from pandas.api.typing import NaTType

from components.errors import SettingsError

SCOPES = ("read", "write", "score")

# tremor_<id>_<secret>: the id finds the row, the secret has 256 bits, so that a plain digest of it
# cannot be guessed back.
KEY = re.compile(r"tremor_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")

NAME = re.compile(r"[\w .@-]{1,64}")


@dataclass(frozen=True)
class Key:
    """What is kept of a key; ``expires_at`` and ``revoked_at`` NaT while they are not."""

    id: str
    name: str
    digest: str
    scopes: frozenset[str]
    expires_at: pd.Timestamp | NaTType
    revoked_at: pd.Timestamp | NaTType

    def holds(self, now: pd.Timestamp) -> bool:
        """Whether it has neither been revoked nor expired."""
        is_past = not pd.isna(self.expires_at) and now >= self.expires_at
        return not is_past and bool(pd.isna(self.revoked_at))

    def is_of(self, text: str) -> bool:
        """Whether a text is this key, in a time that tells nothing of it."""
        return hmac.compare_digest(self.digest, digest(text))


# Who may ask for everything without a key, on loopback alone.
OPEN = Key("open", "open", "", frozenset(SCOPES), pd.NaT, pd.NaT)


def text_of(number: bytes, secret: str) -> tuple[str, str]:
    """A key's id and its text, made of six random bytes and a random text of 43 characters."""
    name = number.hex()
    return name, f"tremor_{name}_{secret}"


def id_of(text: str) -> str:
    """The id that a key's text names; "" where it is no key."""
    found = KEY.fullmatch(text)
    return found.group(1) if found else ""


def digest(text: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(text.encode()).hexdigest()


def scopes_of(said: Sequence[str]) -> tuple[str, ...]:
    """The scopes that were named, in order, each once.

    Raises
    ------
    SettingsError
        None, or one that is not known.
    """
    strange = [name for name in said if name not in SCOPES]
    if strange or not said:
        what = f"no scope is called {strange[0]!r}" if strange else "no scope is named"
        raise SettingsError(f"--scope: {what}. Known: {', '.join(SCOPES)}.")
    return tuple(name for name in SCOPES if name in said)


def check_name(name: str) -> str:
    """Give a key's name back where it is one.

    Raises
    ------
    SettingsError
        It is empty, longer than 64, or has others than letters, digits, blank ``. _ @ -``.
    """
    if not NAME.fullmatch(name) or not name.strip():
        raise SettingsError(
            f"a key's name is 1 to 64 letters, digits, blanks and . _ @ -, not {name[:64]!r}."
        )
    return name
