"""``GET /v1/stream``: each new verdict once, as soon as it is stored."""

import contextlib
import json
import threading
import time

import pandas as pd
import pytest
import requests

from components.reading import news
from components.wiring import open_warehouse
from tests.api_server import command, full_histories, made_world, put, serving
from tests.worlds import DAY, LAST, MORNING, SYMBOLS


@pytest.fixture
def town(tmp_path, postgres_server):
    """A world on the morning before its last bar."""
    world = made_world(tmp_path, postgres_server)
    world.full = full_histories()
    put(world, world.full, LAST - DAY)
    world.run(MORNING - DAY)
    return world


class Ear(threading.Thread):
    """Listens in a thread of its own until it is closed."""

    def __init__(self, url, params=None, headers=None):
        super().__init__(daemon=True)
        self.heard, self.lines = [], []
        self._reply = requests.get(
            f"{url}/v1/stream", params=params, headers=headers, stream=True, timeout=60
        )
        self._reply.encoding = "utf-8"
        assert self._reply.headers["content-type"].startswith("text/event-stream")
        self.start()

    def run(self):
        """Read events."""
        with contextlib.suppress(Exception):
            event = {}
            for line in self._reply.iter_lines(decode_unicode=True, chunk_size=1):
                self.lines.append(line)
                name, _, value = line.partition(": ")
                if name:
                    event[name] = value
                elif "data" in event:
                    self.heard.append({**json.loads(event["data"]), "id": event["id"]})
                    event = {}

    def close(self):
        """Hang up."""
        self._reply.close()


def wait_for(is_so):
    """Wait until it is so."""
    for _ in range(150):
        if is_so():
            return
        time.sleep(0.1)
    raise AssertionError("it never came to that")


def test_new_verdicts_are_heard_once_and_the_missed_ones_on_return(town):
    """A run of an old day is heard when it ends; who comes back hears what he missed."""
    with serving(town, "--open") as api:
        ears = [Ear(api.url), Ear(api.url, {"level": 3}), Ear(api.url, {"symbol": "BBB"})]
        time.sleep(1)
        put(town, town.full, LAST)
        town.run(MORNING)
        wait_for(lambda: len(ears[0].heard) >= 4)
        time.sleep(1.5)
        assert sorted(each["symbol"] for each in ears[0].heard) == sorted(SYMBOLS)
        assert [each["symbol"] for each in ears[1].heard] == ["AAA"]
        assert [each["symbol"] for each in ears[2].heard] == ["BBB"]
        stored = town.query(
            "select symbol, p from verdicts where ts = %(ts)s", ts=LAST.to_pydatetime()
        )
        expected = dict(zip(stored["symbol"], stored["p"], strict=True))
        assert {each["symbol"]: each["p"] for each in ears[0].heard} == expected
        for ear in ears:
            ear.close()
        before = (MORNING - pd.Timedelta(hours=1)).isoformat()
        back = Ear(api.url, headers={"Last-Event-ID": before})
        wait_for(lambda: len(back.heard) >= 4)
        assert len({each["id"] for each in back.heard}) == 4
        back.close()
        # Behind the second of them the last two are heard, though all became known at once.
        last = Ear(api.url, headers={"Last-Event-ID": back.heard[1]["id"]})
        wait_for(lambda: len(last.heard) >= 2)
        time.sleep(1)
        assert [each["id"] for each in last.heard] == [each["id"] for each in back.heard[2:]]
        last.close()
        gone = "tremor_api_streams 0.0"
        wait_for(lambda: gone in api.get("/metrics").text)


def test_thousands_that_become_known_at_once_are_all_heard(town):
    """A run over a large watch list is more than one page of one instant."""
    n = news.MOST + 700
    with serving(town, "--open") as api:
        ear = Ear(api.url, {"level": 1})
        time.sleep(1)
        with open_warehouse(town.read_settings()) as warehouse:
            warehouse.execute(
                "insert into verdicts (symbol, interval, ts, judge, verdict, level, known_at) "
                "select 'S' || i, '1d', '2024-03-12', 'j', 'normal', 1, now() "
                "from generate_series(1, %(n)s) i",
                {"n": n},
            )
        wait_for(lambda: len(ear.heard) >= n)
        assert len({each["symbol"] for each in ear.heard}) == len(ear.heard) == n
        ear.close()


def test_who_listens_with_a_key_that_is_revoked_hears_no_more(town):
    """Within a second or so, as any other request of that key is refused."""
    key = command(town, "keys", "make", "listener")
    with serving(town, key=key) as api:
        ear = Ear(api.url, headers={"Authorization": f"Bearer {key}"})
        time.sleep(1)
        command(town, "keys", "revoke", "listener")
        wait_for(lambda: "event: end" in ear.lines)
        put(town, town.full, LAST)
        town.run(MORNING)
        time.sleep(2)
        assert ear.heard == []


def test_the_server_stops_while_somebody_listens(town):
    """SIGTERM ends it within its patience, and without a fault in its log."""
    with serving(town, "--open") as api:
        ear = Ear(api.url)
        began = time.monotonic()
        api.process.terminate()
        api.process.wait(30)
        assert time.monotonic() - began < 25
        ear.close()
        assert "Traceback" not in api.said
