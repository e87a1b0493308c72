"""A market that dies is told once a run of idle bars, over whole runs of the program."""

import pandas as pd
import pytest

from tests.terminal import hurry
from tests.worlds import DAY, LAST, history

HOURS = pd.Timedelta(hours=1)
N_IDLE = 40
DIED = "DDD-USD"


@pytest.fixture(scope="module", autouse=True)
def quick_server(postgres_server):
    """The server need not wait for its disk."""
    hurry(postgres_server)


def dying(n_after):
    """A coin that stands still for 40 days up to LAST, and moves ``n_after`` days later."""
    frame = history(DIED, last=LAST + n_after * DAY)
    alive = len(frame) - N_IDLE - n_after
    idle = frame.index[alive : alive + N_IDLE]
    price = frame.loc[alive - 1, "Close"]
    frame.loc[idle, ["Open", "High", "Low", "Close"]] = price
    frame.loc[idle, "Volume"] = 0
    return frame


def notes(world):
    """What was told of the dead market, alert by alert."""
    told = [note for payload in world.alerts("data")["payload"] for note in payload["notes"]]
    return [note for note in told if "dead_market" in note]


def morning(world, last, n_after=0):
    """The run of the morning after ``last``."""
    frame = dying(n_after)
    world.put(DIED, frame[frame["Date"] <= f"{last:%Y-%m-%d}"], last + 30 * HOURS)
    return world.run(last + 36 * HOURS, symbols=DIED)


def test_a_dead_market_is_told_once_a_run_and_not_once_a_bar(world):
    """Day after day of the same run is one trouble; that it woke up again tells nothing anew."""
    for day in (LAST - 5 * DAY, LAST - DAY, LAST):
        morning(world, day)
    (told,) = notes(world)
    assert told.startswith(f"{DIED}: nobody trades")
    stored = world.query("select max(ts) as last from candles")["last"][0]
    assert f"{stored:%Y-%m-%d}" in told
    for n_after in (1, 2):
        morning(world, LAST + n_after * DAY, n_after)
    assert len(notes(world)) == 1
    assert world.query("select max(ts) as last from candles")["last"][0] == LAST + 2 * DAY
