"""What the state store begins with, where there is no checkpoint yet."""

from dataclasses import dataclass, field

import numpy as np

from components.carried import Snapshot
from components.spark_job.market_state import begun
from components.state_rows import to_rows
from components.steps.stream import Stream
from components.streaming.ordering import NEVER


@dataclass(frozen=True)
class Begun:
    """Rows of both stages' states: (calendar, body), and (shard, symbol, body)."""

    markets: list[tuple[str, bytes]] = field(default_factory=list)
    instruments: list[tuple[int, str, bytes]] = field(default_factory=list)


def begun_of(stream: Stream, n_shards: int) -> Begun:
    """The states behind everything that is stored, as the batch has judged it."""
    judge, state = stream.judge, stream.state
    markets = []
    for name, market in state.markets.items():
        at = stream.released(name)
        released = NEVER if at is None else int(at.as_unit("us").asm8.astype(np.int64))
        markets.append((name, begun(released, market, judge.interval)))
    has_bars = ~np.isnat(state.judge["last_ts"])
    known = tuple(s for s, has in zip(judge.symbols, has_bars, strict=True) if has)
    bodies = to_rows(Snapshot(judge.symbols, state.judge).take(known)) if known else []
    shards = [judge.symbols.index(symbol) % n_shards for symbol in known]
    return Begun(markets, list(zip(shards, known, bodies, strict=True)))
