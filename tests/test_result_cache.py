"""Answers that are found again: in a real Redis, and in process; a dead one breaks nothing."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.result_cache import LARGEST, InProcess, ResultCache
from tests.api_server import made_world, serving
from tests.feast_server import redis_server
from tests.worlds import MORNING

BAR = {"symbol": "AAA", "ts": "2024-03-13", "open": 100, "high": 101, "low": 99, "close": 100}


@given(
    asked=st.lists(st.tuples(st.sampled_from("abcdef"), st.binary(max_size=40)), max_size=60),
    most=st.integers(0, 100),
)
def test_what_is_held_is_what_was_put_last_within_its_bytes(asked, most):
    """Whatever is put, in whatever order, the bytes held never exceed the bound."""
    cache, last = InProcess(most), {}
    for key, answer in asked:
        cache.put(key, answer)
        last[key] = answer
        held = {each: cache.get(each) for each in last}
        found = {each: answer for each, answer in held.items() if answer is not None}
        assert sum(map(len, found.values())) <= most
        assert all(last[each] == answer for each, answer in found.items())
        if len(answer) <= most:
            assert found[key] == answer


def test_redis_holds_answers_for_every_server(tmp_path):
    """What one put another finds; what is too large is kept nowhere."""
    with redis_server("secret") as port:
        url = f"redis://:secret@127.0.0.1:{port}/0"

        async def tried():
            one, other = ResultCache(url, "t"), ResultCache(url, "t")
            await one.put("a", b"answer")
            await one.put("large", b"x" * (LARGEST + 1))
            found = await other.get("a"), await other.get("large"), await other.get("b")
            await one.close()
            await other.close()
            return found, one.state

        assert asyncio.run(tried()) == ((b"answer", None, None), "redis")


def test_a_redis_that_does_not_answer_slows_little_and_breaks_nothing():
    """Answers are held in process meanwhile, and its address is in no message."""

    async def tried():
        cache = ResultCache("redis://:secret@127.0.0.1:1/0", "t")
        began = time.monotonic()
        for i in range(200):
            await cache.put(str(i), b"answer")
            assert await cache.get(str(i)) == b"answer"
        return time.monotonic() - began, cache.state

    seconds, state = asyncio.run(tried())
    assert seconds < 5
    assert state == "redis is away, in process"


@pytest.mark.parametrize("is_killed", [False, True])
def test_the_api_answers_from_redis_and_without_it(tmp_path, postgres_server, is_killed):
    """The same answer before, during and after its death."""
    world = made_world(tmp_path, postgres_server)
    world.put_market(AAA=0.3)
    world.run(MORNING)
    with redis_server("secret") as port:
        url = f"redis://:secret@127.0.0.1:{port}/0"
        with serving(world, "--open", redis_url=url) as api:
            first = api.post("/v1/score", json={"candles": [BAR]})
            again = api.post("/v1/score", json={"candles": [BAR]})
            assert first.content == again.content
            assert api.get("/v1/health").json()["checks"]["cache"]["state"] == "redis"
            if not is_killed:
                assert 'tremor_api_cached_total{found="yes"} 1.0' in api.get("/metrics").text
                return
            _shut_down(port)
            during = [api.post("/v1/score", json={"candles": [BAR]}) for _ in range(5)]
            assert {reply.content for reply in during} == {first.content}
            said = api.get("/v1/health").json()
            assert (said["ready"], said["checks"]["cache"]["ok"]) == (True, False)
            assert "secret" not in api.said


def _shut_down(port):
    import redis

    client = redis.Redis(port=port, password="secret")
    try:
        client.shutdown(nosave=True)
    except redis.ConnectionError:
        return
