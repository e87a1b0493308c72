"""The stream's live state in Redis, for a dashboard that asks each second."""

import json
import logging
import math
import time
from typing import Any

import pandas as pd

from components.rows import json_rows
from components.tables import LIVE

log = logging.getLogger("tremor")

# Without a sign of life for so long, s, the state is gone: nobody shows a dead stream as alive.
LIFE_S = 3600

# So long, s, one that is away is left alone.
AWAY_S = 60.0


class LiveCache:
    """One hash an interval, ``tremor:live:1m``, with a field an instrument.

    A cache that cannot be reached is said once, and the stream goes on: the warehouse has it all.
    """

    def __init__(self, url: str, prefix: str) -> None:
        self._url, self._prefix = url, prefix
        self._client: Any = None
        self._is_away, self._asked_at = False, -math.inf

    def put(self, rows: pd.DataFrame) -> None:
        """Put rows of the ``live`` table in place of older ones."""
        import redis

        # One that does not answer is not asked again at each second, for it would be waited for.
        if self._is_away and time.monotonic() - self._asked_at < AWAY_S:
            return
        self._asked_at = time.monotonic()
        try:
            if self._client is None:
                self._client = redis.Redis.from_url(
                    self._url, socket_timeout=2, socket_connect_timeout=2
                )
            with self._client.pipeline() as pipe:
                for interval, own in rows.groupby("interval"):
                    name = f"{self._prefix}:live:{interval}"
                    said = zip(own["symbol"], json_rows(own), strict=True)
                    pipe.hset(name, mapping={symbol: json.dumps(row) for symbol, row in said})
                    pipe.expire(name, LIFE_S)
                pipe.execute()
        except (redis.RedisError, ValueError, OSError) as error:
            # The message may hold the address, and the address a password.
            if not self._is_away:
                log.warning("TREMOR_REDIS_URL: no live state (%s)", type(error).__name__)
            self._is_away, self._client = True, None
        else:
            self._is_away = False


def read_live(url: str, prefix: str, interval: str) -> pd.DataFrame | None:
    """What a stream put there: rows of the ``live`` table; None when it is away, or has none."""
    import redis

    try:
        client = redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2)
        with client:
            said = client.hvals(f"{prefix}:live:{interval}")
        rows = pd.DataFrame([json.loads(row) for row in said], columns=list(LIVE.columns))
    except (redis.RedisError, ValueError, OSError):
        return None
    times = [name for name, kind in LIVE.columns.items() if kind == "timestamp"]
    rows = rows.assign(**{name: pd.to_datetime(rows[name], utc=True) for name in times})
    return rows if len(rows) else None
