"""The crash of May 2021 through a real broker and Spark, minute by minute, as the batch has it.

The files are not part of this repository; without them the suite is skipped.
"""

import pandas as pd
import pytest

from components.broker import Access, Topics, make_topics
from components.tables import CHANNELS, MARKET, VERDICTS
from tests.kafka_server import broker_server
from tests.streams_made import MINUTE, batch, coins, known, same
from tests.test_shared_stream import CRASH, DATA, MONTH, TOLD_BY, candles_of
from tests.test_spark import at_work, closing_of, produce, spark, wait_for

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="the folder ../shared/data is not beside this checkout"
)

# What lies before has been judged at once, as a job finds it that begins; the rest is streamed.
SINCE, UNTIL = pd.Timestamp("2021-05-18", tz="UTC"), pd.Timestamp("2021-05-19 14:00", tz="UTC")

__all__ = ["spark"]


@pytest.fixture
def month():
    """A month of six coins up to the crash, each candle known as it closed."""
    rows = known(pd.concat([candles_of(path) for path in sorted(MONTH.glob("*.json.gz"))]))
    return rows[rows["ts"] < UNTIL].reset_index(drop=True)


def test_a_real_crash_on_spark_is_judged_as_the_batch_does_within_minutes(spark, make_world, month):
    """Every verdict, market and channel to the last bit; Bitcoin's fall, or its market's, told."""
    watched = ",".join(sorted(month["symbol"].unique()))
    world, other = (
        coins(make_world(), symbols=watched, alerts_per_week=2, history_years=10) for _ in range(2)
    )
    world.settings |= {"source": "binance", "files_root": None}
    batch(world, month[month["ts"] < SINCE], SINCE)
    days = month[month["ts"] >= SINCE]
    with broker_server() as server:
        access, topics = Access(server.servers), Topics.under("may")
        make_topics(access, topics, 2)
        produce(access, topics.candles, days)
        produce(access, topics.candles, closing_of(days.tail(1)))
        with at_work(world, spark, access, topics) as work:
            wait_for(work.start(), work.recorder, len(days))
    batch(other, month, UNTIL)
    for table in (VERDICTS, MARKET, CHANNELS):
        assert len(same(world, other, table)) > 40_000
    odd = world.query(
        "select ts, known_at from verdicts where symbol = 'BTCUSDT' and verdict = 'anomaly' "
        "and ts >= %(since)s order by ts",
        since=CRASH,
    )
    wide = world.query(
        "select ts, known_at from market where verdict = 'anomaly' and ts >= %(since)s order by ts",
        since=CRASH,
    )
    found = pd.concat([odd, wide])
    assert found["known_at"].min() <= TOLD_BY
    assert (found["known_at"] - found["ts"] <= 3 * MINUTE).all()
    told = world.query("select symbols, kind from alerts where ts >= %(since)s", since=CRASH)
    names = told["symbols"].map(lambda symbols: "BTCUSDT" in symbols)
    assert (names | (told["kind"] == "market")).any()
