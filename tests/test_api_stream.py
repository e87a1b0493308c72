"""``GET /v1/stream``: each new verdict once, as soon as it is stored."""

import contextlib
import json
import threading
import time

import pandas as pd
import pytest
import requests

from tests.api_server import full_histories, made_world, put, serving
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
        assert {each["id"] for each in back.heard} == {MORNING.isoformat()}
        back.close()
        gone = "tremor_api_streams 0.0"
        wait_for(lambda: gone in api.get("/metrics").text)


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
