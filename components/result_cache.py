"""Answers that were given before: in Redis, or in process where there is none.

A key names everything that an answer depends on, so nothing is ever deleted for being old: what
nobody asks for any more falls out by its age, or by its place in the line.
"""

import logging
import math
import time
from collections import OrderedDict
from typing import Any

log = logging.getLogger("tremor")

# So long, s, an answer is kept that nobody asks for.
LIFE_S = 3600

# Of answers held in process so many bytes, the last used first.
MOST_BYTES = 64 * 2**20

# An answer larger than this is not kept anywhere.
LARGEST = 4 * 2**20

# A server that does not answer in time is left alone for a while; answers are then held here.
PATIENCE_S, AWAY_S = 0.25, 5.0


class InProcess:
    """The last used answers, ``MOST_BYTES`` of them at most."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most, self._size = most_bytes, 0
        self._held: OrderedDict[str, bytes] = OrderedDict()

    def get(self, key: str) -> bytes | None:
        """The answer, or None."""
        found = self._held.get(key)
        if found is not None:
            self._held.move_to_end(key)
        return found

    def put(self, key: str, answer: bytes) -> None:
        """Keep an answer, and let go of those that were used longest ago."""
        self._size += len(answer) - len(self._held.pop(key, b""))
        self._held[key] = answer
        while self._size > self._most:
            _, oldest = self._held.popitem(last=False)
            self._size -= len(oldest)

    def __len__(self) -> int:
        """How many are held."""
        return len(self._held)


class ResultCache:
    """Answers by key; a Redis that cannot be reached slows nothing for long, and breaks nothing.

    Parameters
    ----------
    url : str
        ``redis://...``; "" holds answers in process alone.
    prefix : str
        What its keys begin with.
    """

    def __init__(self, url: str, prefix: str) -> None:
        self._url, self._prefix = url, prefix
        self._near = InProcess()
        self._client: Any = None
        self._away_until = -math.inf

    @property
    def state(self) -> str:
        """``in process``, ``redis``, or ``redis is away, in process``."""
        if not self._url:
            return "in process"
        return "redis is away, in process" if self._is_away else "redis"

    async def get(self, key: str) -> bytes | None:
        """The answer, or None."""
        if self._url and not self._is_away:
            found: bytes | None = await self._asked("get", f"{self._prefix}:{key}")
            if found is not None:
                return found
        return self._near.get(key)

    async def put(self, key: str, answer: bytes) -> None:
        """Keep an answer."""
        if len(answer) > LARGEST:
            return
        if self._url and not self._is_away:
            name = f"{self._prefix}:{key}"
            if await self._asked("set", name, answer, ex=LIFE_S) is not None:
                return
        self._near.put(key, answer)

    async def close(self) -> None:
        """Close what is open."""
        if self._client is not None:
            await self._client.aclose()

    @property
    def _is_away(self) -> bool:
        return time.monotonic() < self._away_until

    async def _asked(self, command: str, *args: Any, **options: Any) -> Any:
        import redis
        import redis.asyncio

        try:
            if self._client is None:
                self._client = redis.asyncio.Redis.from_url(
                    self._url, socket_timeout=PATIENCE_S, socket_connect_timeout=PATIENCE_S
                )
            return await getattr(self._client, command)(*args, **options)
        except (redis.RedisError, ValueError, OSError) as error:
            # The message may hold the address, and the address a password.
            log.warning("TREMOR_REDIS_URL: answers are held here (%s)", type(error).__name__)
            self._away_until = time.monotonic() + AWAY_S
            return None
