"""How often somebody may ask: a bucket of tokens each, refilled evenly. Pure but for its memory."""

from collections import OrderedDict
from dataclasses import dataclass

# Askers that are remembered; who was not heard of for longest is forgotten, his bucket full.
MOST_ASKERS = 10_000

# Of a minute's requests so large a share may come at once.
BURST = 0.2


@dataclass(frozen=True)
class Leave:
    """Whether a request may pass; how many more may at once; seconds until the next may, else 0."""

    is_given: bool
    remaining: int
    wait_s: float


class Buckets:
    """A bucket for each asker.

    Parameters
    ----------
    per_minute : float
        Requests that flow in, and that one asker may make in a minute.
    """

    def __init__(self, per_minute: float) -> None:
        self.per_minute = per_minute
        self._rate = per_minute / 60
        self.capacity = max(1.0, per_minute * BURST)
        self._held: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, asker: str, now_s: float) -> Leave:
        """Ask for one request at an instant of a clock that only goes forward, s."""
        tokens, then = self._held.pop(asker, (self.capacity, now_s))
        tokens = min(self.capacity, tokens + (now_s - then) * self._rate)
        is_given = tokens >= 1
        left = tokens - 1 if is_given else tokens
        self._held[asker] = (left, now_s)
        if len(self._held) > MOST_ASKERS:
            self._held.popitem(last=False)
        return Leave(is_given, int(left), 0.0 if is_given else (1 - left) / self._rate)
