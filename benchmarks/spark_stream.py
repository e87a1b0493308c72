"""Candles a second of the stream on Spark, beside the same job that passes them on unjudged.

Both runs are one after the other on this machine, over a broker of its own:
``python -m benchmarks.spark_stream [INSTRUMENTS] [MINUTES] [AT_ONCE]``. What is measured is the
time of the micro-batches behind a first, small one, which starts Spark's workers.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from components.broker import Access, Producer, Topics, make_topics
from components.carried import Snapshot
from components.embedded import close_embedded
from components.ensemble import Ensemble
from components.messages import encode_candles
from components.panels import pack
from components.settings import ENSEMBLE_OF_SHORT, Settings
from components.spark_job.run import OF_SHARD, begun_work
from components.spark_job.session import open_session
from components.state_rows import to_rows
from components.wiring import open_parts
from tests.kafka_server import broker_server, connector
from tests.spark_candles import minutes

LATENESS = pd.Timedelta(minutes=2)
# Behind so many bars verdicts are decided: that is what judging costs for good.
WARM = 420


def main() -> None:
    """Run both and print the ratio."""
    n_symbols, n_minutes, at_once = (int(a) for a in [*sys.argv[1:], "100", "400", "10000"][:3])
    symbols = tuple(f"A{number:04d}USDT" for number in range(n_symbols))
    candles = minutes(WARM + n_minutes, symbols=symbols).sort_values("ts", kind="stable")
    own_cost(symbols)
    folder = Path(tempfile.mkdtemp(prefix="tremor-bench-"))
    folder.chmod(0o711)
    spark = open_session(
        **{
            "spark.master": "local[2]",
            "spark.jars": connector(),
            "spark.driver.memory": "1g",
            "spark.local.dir": str(folder / "spark"),
        }
    )
    found = {}
    with broker_server() as server:
        for name, is_idle in (("passed on", True), ("judged", False)):
            settings = Settings(
                _env_file=None,
                source="binance",
                interval="1m",
                symbols=",".join(symbols),
                state_dir=folder / name.replace(" ", "-"),
            )
            access, topics = Access(server.servers), Topics.under(name.replace(" ", "-"))
            found[name] = rate(spark, settings, access, topics, candles, at_once, is_idle=is_idle)
            print(f"{name:10} {found[name]:8,.0f} candles/s", flush=True)
            close_embedded(settings.state_dir)
    print(f"ratio      {found['judged'] / found['passed on']:8.2f}")
    spark.stop()


def own_cost(symbols: tuple[str, ...]) -> None:
    """Print what judging a bar costs in a process of its own, and the size of a state."""
    ensemble = Ensemble(ENSEMBLE_OF_SHORT, 2 * 365.25 / 7)
    own = symbols[:OF_SHARD]
    candles = minutes(1500, symbols=own)
    panel = pack(candles, own, own)
    rates = np.full(len(own), 1e-4)
    state, _ = ensemble.run(ensemble.start(len(own)), panel, rates)
    began = time.perf_counter()
    ensemble.run(ensemble.start(len(own)), panel, rates)
    seconds = time.perf_counter() - began
    size = max(len(row) for row in to_rows(Snapshot(own, state)))
    print(f"judging alone {1e6 * seconds / len(candles):.1f} us a bar; a state {size:,} bytes")


def rate(spark, settings, access, topics, candles, at_once, *, is_idle):
    """Candles a second behind the first micro-batches."""
    make_topics(access, topics, 2)
    last_warm = candles["ts"].min() + pd.Timedelta(minutes=WARM)
    warm, rest = candles[candles["ts"] < last_warm], candles[candles["ts"] >= last_warm]
    now = pd.Timestamp.now("UTC")
    given = {"n_partitions": 2, "is_idle": is_idle, "at_once": at_once}
    with (
        open_parts(settings, now, command="stream", reads_only=True) as parts,
        begun_work(spark, parts, access, topics, LATENESS, **given) as work,
    ):
        sent(access, topics.candles, warm)
        query, recorder = work.start(), work.recorder
        wait(query, recorder, len(warm))
        sent(access, topics.candles, rest)
        began = time.perf_counter()
        wait(query, recorder, len(candles))
        seconds = time.perf_counter() - began
        state = query.lastProgress.stateOperators[0]
        print(f"{'':10} {state.numRowsTotal:,} rows of state in the judge's store")
    return len(rest) / seconds


def sent(access, topic, candles):
    """Send candles in their order."""
    with Producer(access) as producer:
        producer.send(topic, encode_candles(candles, "1m"))


def wait(query, recorder, n):
    """Until so many are judged and stored."""
    while recorder.counts.judged < n:
        if query.exception():
            raise query.exception()
        time.sleep(0.05)


if __name__ == "__main__":
    main()
