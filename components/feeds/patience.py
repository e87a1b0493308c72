"""How long a feed waits: for what should come, and before it tries again."""

import random
from dataclasses import dataclass, field

# Two to this power is longer than any wait.
MOST_DOUBLINGS = 16


@dataclass
class Backoff:
    """Waits that double, each shortened by up to a half by chance.

    Parameters
    ----------
    first_s, most_s : float
        The first wait and the longest one, s.
    chance : Random, optional
        Where the chance comes from.
    """

    first_s: float = 1.0
    most_s: float = 60.0
    chance: random.Random = field(default_factory=random.Random)

    def wait_s(self, tries: int) -> float:
        """Seconds before the next try after so many in vain, from 0."""
        whole = min(self.most_s, self.first_s * 2.0 ** min(tries, MOST_DOUBLINGS))
        return whole * self.chance.uniform(0.5, 1.0)


@dataclass(frozen=True)
class Patience:
    """How long what may take, s.

    Parameters
    ----------
    open_s : float, default=10
        The connection, and the login.
    ping_s, pong_s : float, default=20
        Between pings; until the pong.
    silence_s : float, default=30
        Without any message, where there is chatter.
    late_s : float, default=30
        After the close of the bar that should have come.
    """

    open_s: float = 10.0
    ping_s: float = 20.0
    pong_s: float = 20.0
    silence_s: float = 30.0
    late_s: float = 30.0
