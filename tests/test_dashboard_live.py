"""The page of a stream, and of stored days played again, as people meet it in a browser."""

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.entrypoints.dashboard.replaying import Player
from components.entrypoints.dashboard.tapes import ABSTAINS, QUIET, UNSTORED, VOTES, Reel, tape_of
from components.live_cache import LiveCache, read_live
from components.plots.live import figure
from components.reading.live import Stored, rows_of, summary_of
from components.steps.live import Live
from components.tables import LIVE
from components.warehouse import Warehouse
from tests.browser import dashboard, free_port, look, picture, serious, settle, words
from tests.feast_server import redis_server
from tests.streams_made import (
    FIRST,
    MINUTE,
    arrivals,
    at_work,
    coins,
    known,
    market,
    streamed,
)
from tests.terminal import hurry, run_sql
from tests.worlds import World

DAY = pd.Timestamp("2024-03-04", tz="UTC")

# What a name from a venue could make of a page.
HOSTILE = "<img src=x onerror=alert(1)> **[x](javascript:1)**"

# What of the picture has been drawn: the candles' opens and closes, the lamps' opens, the words.
DRAWN = """() => {
    const p = document.querySelector('.js-plotly-plot');
    return p?._fullLayout?.yaxis && {
        candles: p.data[0].x.length, first: p.data[0].x[0], last: p.data[0].x.at(-1),
        lamps: p.data.slice(4).flatMap(t => Array.from(t.x)),
        words: Array.from(p.querySelectorAll('.y2tick text')).map(t => t.textContent),
        top: p._fullLayout.yaxis.range[1],
    };
}"""

# Notes each count of candles that is seen, and when, ms.
WATCH = """() => {
    window.seen = [];
    const watch = () => {
        const said = document.querySelector('[data-testid=stProgress]')?.innerText;
        if (said && said !== window.seen.at(-1)?.[0]) window.seen.push([said, performance.now()]);
        requestAnimationFrame(watch);
    };
    watch();
}"""


@dataclass
class Town:
    """A world with a stream at work, and its dashboard."""

    world: World
    live: Live
    board: Any
    later: pd.DataFrame
    stream: Any


@pytest.fixture(scope="module")
def town(postgres_server, tmp_path_factory):
    """Six coins by the minute, a stream behind all but the last ten; four stocks by the day."""
    hurry(postgres_server)
    run_sql(postgres_server, "create database dashboard_live")
    url = postgres_server.replace("/postgres?", "/dashboard_live?")
    days = World(tmp_path_factory.mktemp("days"), url)
    days.put_market(crash=0.2)
    days.run()
    world = coins(World(tmp_path_factory.mktemp("minutes"), url))
    world.files.mkdir()
    rows = known(market())
    is_later = rows["ts"] >= rows["ts"].max() - 9 * MINUTE
    with at_work(world) as stream:
        live = Live(stream.parts)
        stream.heard = live.add
        streamed(stream, arrivals(rows[~is_later]), is_over=False)
        live.store()
        with dashboard(world.folder, told(world)) as running:
            yield Town(world, live, running, rows[is_later], stream)


def told(world, **more):
    """The settings of a dashboard over a world."""
    own = {"warehouse_url": world.postgres_url, "state_dir": world.folder / "var"}
    return {"source": "files", "files_root": world.files, **world.settings, **own, **more}


def shown(page, name):
    """The number that stands under a name."""
    metric = page.locator("[data-testid=stMetric]").filter(has_text=name)
    return metric.locator("[data-testid=stMetricValue]").inner_text()


def until(page, is_so, patience_s=15):
    """Wait for something that comes by itself."""
    begun = time.monotonic()
    while not is_so():
        assert time.monotonic() - begun < patience_s, words(page)
        page.wait_for_timeout(200)


def replay(chromium, town, symbol="BBBUSDT", **arguments):
    """A window on the replay of one coin's whole day by the minute."""
    page = look(chromium, f"{town.board.url}/live", **arguments)
    page.get_by_text("Replay a stored day").click()
    settle(page)
    choose(page, symbol, instead_of="AAAUSDT")
    day = page.get_by_role("spinbutton", name="day, Day, UTC")
    day.click()
    page.keyboard.type("04")
    # A typed day counts once the field is left.
    page.get_by_role("heading", name="Live").click()
    n = len(candles(town.world, symbol))
    until(page, lambda: f"Candle 1 of {n:,}" in words(page))
    settle(page)
    return page


def choose(page, symbol, instead_of=""):
    """Pick an instrument by the keyboard, as who types its name does."""
    box = page.get_by_role("combobox", name=re.compile("Instruments"))
    box.click()
    if instead_of:
        page.keyboard.press("Backspace")
        settle(page)
    box.fill(symbol)
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    settle(page)


def press(page, name):
    """Press a button, and wait until the page stands."""
    page.get_by_role("button", name=name, exact=True).click()
    settle(page)


def drawn_on(page):
    """What the picture holds; while it plays, each new one takes the old one out of the page."""
    return page.wait_for_function(DRAWN).json_value()


def fast(page):
    """Choose a thousand candles a second."""
    page.get_by_role("combobox", name="Candles a second").click()
    page.get_by_role("option", name="1000", exact=True).click()
    settle(page)


def candles(world, symbol="BBBUSDT"):
    """What is stored of a coin's day."""
    rows = world.query(
        "select ts, close from candles_intraday where symbol = %(symbol)s order by ts",
        symbol=symbol,
    )
    return rows[(rows["ts"] >= DAY) & (rows["ts"] < DAY + pd.Timedelta(days=1))]


def test_the_stream_is_seen_as_it_stands_and_renews_itself(town, chromium):
    """What is stored is shown; what it judges next comes without a touch."""
    page = look(chromium, f"{town.board.url}/live")
    before = town.world.query("select sum(n_judged) as n, sum(is_open) as n_open from live")
    assert shown(page, "Candles judged") == f"{before['n'].iloc[0]:,}"
    assert shown(page, "Open incidents") == f"{before['n_open'].iloc[0]}"
    assert shown(page, "Instruments") == "6"
    streamed(town.stream, arrivals(town.later, 3), is_over=False)
    town.live.store()
    after = f"{town.world.query('select sum(n_judged) as n from live')['n'].iloc[0]:,}"
    assert after != f"{before['n'].iloc[0]:,}"
    until(page, lambda: shown(page, "Candles judged") == after)


def test_a_stream_that_says_nothing_any_more_is_dead(town, chromium):
    """By the age of its last word, when bars have closed since; it lives again with the next."""
    page = look(chromium, f"{town.board.url}/live")
    try:
        age(town, "10 minutes")
        until(page, lambda: shown(page, "Stream") == "✕ silent")
        until(page, lambda: "This stream is dead or cut off" in words(page))
        assert re.search(r"1[01] min \d+ s ago", shown(page, "Last said something"))
        assert serious(page) == []
        picture(page, "live-stream-dead")
    finally:
        age(town, "0 minutes")
    until(page, lambda: shown(page, "Stream") == "● alive")
    until(page, lambda: "dead or cut off" not in words(page))


def age(town, span):
    """Let the stream's last word be so old."""
    with Warehouse(town.world.postgres_url) as warehouse:
        warehouse.execute(f"update live set updated_at = now() - interval '{span}'")


def test_an_instrument_is_found_by_a_part_of_its_name(town, chromium):
    """In capitals or not; a name that nobody has is said in a line, as words."""
    page = look(chromium, f"{town.board.url}/live")
    page.get_by_label("Find an instrument").fill("bbb")
    page.get_by_label("Find an instrument").press("Enter")
    until(page, lambda: "1 instrument:" in words(page))
    page.get_by_label("Find an instrument").fill(HOSTILE)
    page.get_by_label("Find an instrument").press("Enter")
    until(page, lambda: "No instrument of this stream" in words(page))
    assert "<img src=x" in words(page)
    assert page.locator("[data-testid=stMain] img, a[href^=javascript]").count() == 0


def test_a_step_shows_one_candle_more_and_nothing_of_what_comes(town, chromium):
    """The picture's own data end at the shown candle: prices, lamps, and the axis of prices."""
    page, held = replay(chromium, town), candles(town.world)
    assert f"Candle 1 of {len(held):,}" in words(page)
    for n in (2, 3, 4):
        press(page, "Step")
        drawn = drawn_on(page)
        assert drawn["candles"] == n
        last = held["ts"].iloc[n - 1].tz_localize(None)
        assert pd.Timestamp(drawn["last"]) == last
        assert max(map(pd.Timestamp, drawn["lamps"])) == last
    highest = town.world.query(
        "select max(high) as high from candles_intraday where symbol = 'BBBUSDT' and ts >= %(a)s "
        "and ts <= %(b)s",
        a=held["ts"].iloc[0],
        b=held["ts"].iloc[3],
    )["high"].iloc[0]
    assert drawn["top"] < highest * 1.01
    assert f"close {held['close'].iloc[3]:.2f}"[:9] in words(page)
    press(page, "Step back")
    assert drawn_on(page)["candles"] == 3
    press(page, "To the start")
    assert drawn_on(page)["candles"] == 1


def test_lamps_that_were_not_stored_are_said_to_be_so(town, chromium):
    """A stream keeps the scores of unusual bars alone: the others' lamps stay dark, in words."""
    page = replay(chromium, town)
    fast(page)
    page.get_by_role("button", name="Play", exact=True).click()
    page.get_by_role("button", name="Play again").wait_for()
    settle(page)
    assert "Single scores of this bar were not stored" in words(page)
    said = drawn_on(page)["words"]
    assert len(said) >= 5
    assert all(text.endswith(("not stored", "abstains")) for text in said)


def test_a_thousand_candles_a_second_are_played_in_batches_to_the_end(town, chromium):
    """As fast as that and no slower, several pictures on the way, and the buttons say the end."""
    page, held = replay(chromium, town), candles(town.world)
    fast(page)
    page.evaluate(WATCH)
    begun = time.monotonic()
    page.get_by_role("button", name="Play", exact=True).click()
    page.get_by_role("button", name="Play again").wait_for()
    took_s = time.monotonic() - begun
    settle(page)
    seen = [int(said.split()[1].replace(",", "")) for said, _ in page.evaluate("window.seen")]
    assert seen == sorted(seen)
    assert len(seen) >= 4
    assert seen[-1] == len(held)
    assert took_s < len(held) / 1000 + 8
    odd = town.world.query(
        "select count(*) as n from verdicts where symbol = 'BBBUSDT' and verdict = 'anomaly' "
        "and ts >= %(a)s and ts < %(b)s",
        a=DAY,
        b=DAY + pd.Timedelta(days=1),
    )["n"].iloc[0]
    assert odd > 0
    assert f"{odd} of the candles so far" in words(page)
    picture(page, "live-replay-light")


def test_a_replay_plays_pauses_and_goes_on(town, chromium):
    """Slowly, it stands where it was stopped, and goes on from there."""
    page = replay(chromium, town)
    page.evaluate(WATCH)
    page.get_by_role("button", name="Play", exact=True).click()
    until(page, lambda: page.evaluate("window.seen.length") >= 4)
    press(page, "Pause")
    stopped = drawn_on(page)["candles"]
    page.wait_for_timeout(1500)
    assert drawn_on(page)["candles"] == stopped
    page.get_by_role("button", name="Play", exact=True).click()
    until(page, lambda: drawn_on(page)["candles"] > stopped)
    assert drawn_on(page)["candles"] < stopped + 60
    press(page, "Pause")


def test_replays_do_not_fill_the_memory(town, chromium):
    """Day after day played to its end: the page lives, the process stays as large as it was."""
    page = replay(chromium, town)
    complaints = []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    fast(page)
    sizes = []
    for _ in range(15):
        page.get_by_role("button", name=re.compile("^Play")).click()
        page.get_by_role("button", name="Pause").wait_for()
        page.get_by_role("button", name="Play again").wait_for()
        settle(page)
        sizes.append(resident_mb(town.board.process.pid))
    assert complaints == []
    assert sizes[-1] - sizes[1] < 25, sizes


def resident_mb(pid):
    """The memory that a process holds, MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def test_days_are_played_with_the_votes_that_were_stored(town, chromium):
    """Daily bars of a span, and of two instruments together: lamps are what the scores say."""
    page = look(chromium, f"{town.board.url}/live")
    page.get_by_text("Replay a stored day").click()
    settle(page)
    page.get_by_role("combobox", name=re.compile("Bars of")).first.click()
    page.get_by_role("option", name="1d").click()
    settle(page)
    fast(page)
    page.get_by_role("button", name="Play", exact=True).click()
    page.get_by_role("button", name="Play again").wait_for()
    settle(page)
    stored = town.world.query(
        "select s.detector, s.p <= v.vote_p as votes from scores s join verdicts v "
        "using (symbol, \"interval\", ts) where symbol = 'AAA' and \"interval\" = '1d' "
        "and ts = (select max(ts) from verdicts where symbol = 'AAA')"
    )
    assert stored["votes"].sum() >= 2
    said = set(drawn_on(page)["words"])
    named = {True: "◆ votes", False: "○ quiet"}
    rows = zip(stored["detector"], stored["votes"], strict=True)
    assert {f"{name} {named[bool(votes)]}" for name, votes in rows} <= said
    assert "HIGH, anomaly" in words(page)
    picture(page, "live-replay-days")
    choose(page, "BBB")
    until(page, lambda: "BBB has no candle yet" in words(page))
    press(page, "Step")
    until(page, lambda: page.locator(".js-plotly-plot").count() == 2)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("look_at", ["stream", "replay"])
def test_who_does_not_see_and_who_has_a_phone_can_use_it(town, chromium, scheme, look_at):
    """Nothing serious by axe, nothing beside a screen 390 pixels wide, no script that fails."""
    errors = []
    phone = {"width": 390, "height": 844, "scheme": scheme, "errors": errors}
    if look_at == "replay":
        page = replay(chromium, town, **phone)
        press(page, "Step")
    else:
        page = look(chromium, f"{town.board.url}/live", **phone)
    assert serious(page) == []
    wide = "document.querySelector('[data-testid=stMain]').scrollWidth"
    assert page.evaluate(wide) <= 390
    picture(page, f"live-{look_at}-phone-{scheme}")
    assert errors == []
    assert "Traceback" not in town.board.said


def test_the_first_picture_comes_within_three_seconds(town, chromium):
    """Of a dashboard that was opened before, on a machine that does nothing else."""
    look(chromium, f"{town.board.url}/live").close()
    begun = time.monotonic()
    window = chromium.new_context()
    page = window.new_page()
    page.goto(f"{town.board.url}/live")
    page.get_by_text("Candles judged").wait_for()
    # Twice what is promised, for a machine that is shared.
    assert time.monotonic() - begun < 6


def test_the_state_comes_from_redis_where_there_is_one(town, chromium):
    """What the stream put there is shown; without it the warehouse's is."""
    rows = town.world.query("select * from live").assign(n_judged=1_000_000)
    with redis_server("secret") as port:
        url = f"redis://:secret@127.0.0.1:{port}/0"
        cache = LiveCache(url, "tremor")
        cache.put(rows)
        found = read_live(url, "tremor", "1m").sort_values("symbol", ignore_index=True)
        pd.testing.assert_frame_equal(
            found[list(LIVE.columns)].drop(columns="updated_at"),
            rows[list(LIVE.columns)]
            .sort_values("symbol", ignore_index=True)
            .drop(columns="updated_at"),
            check_dtype=False,
            rtol=1e-6,
        )
        assert (found["updated_at"] - rows["updated_at"].max()).abs().max().total_seconds() < 0.01
        assert read_live(url, "tremor", "5m") is None
        with dashboard(town.world.folder, told(town.world, redis_url=url)) as running:
            page = look(chromium, f"{running.url}/live")
            assert shown(page, "Candles judged") == f"{6_000_000:,}"
    assert read_live(f"redis://127.0.0.1:{free_port()}/0", "tremor", "1m") is None


def test_who_has_judged_nothing_is_told_what_to_do(postgres_server, tmp_path, chromium):
    """Neither a stream nor a bar: a line each, with the command."""
    run_sql(postgres_server, "create database dashboard_live_empty")
    url = postgres_server.replace("/postgres?", "/dashboard_live_empty?")
    with dashboard(tmp_path, told(World(tmp_path, url))) as running:
        page = look(chromium, f"{running.url}/live")
        assert "python main.py run" in words(page)
        page.get_by_text("The stream now").click()
        settle(page)
        assert "python main.py stream --feed binance" in words(page)
        assert serious(page) == []


# Without a browser: the pure parts.


def stored(n=6, name="A", start=FIRST):
    """Bars of which one was voted for, one was quiet, one abstained, and the last was not kept."""
    ts = pd.date_range(start, periods=n, freq="min")
    prices = pd.DataFrame({"ts": ts, **dict.fromkeys(("open", "high", "low", "close"), 5.0)})
    verdicts = pd.DataFrame(
        {
            "ts": ts, "judge": "knn+gmm", "verdict": "normal", "level": 0, "state": "live",
            "votes": 0, "voters": 2, "vote_p": 0.01, "p": 0.5, "return": 0.0, "bars_lacking": 0,
        }
    )  # fmt: skip
    scores = pd.DataFrame(
        {"ts": ts[[0, 0, 1]], "detector": ["knn", "gmm", "knn"], "p": [0.001, 0.3, 0.5]}
    )
    return Stored(prices.assign(volume=1.0), verdicts, scores)


def test_a_lamp_is_what_the_stored_score_says():
    """A vote at p of at most vote_p, quiet above, abstaining beside stored ones, else unstored."""
    tape = tape_of("A", "1m", stored())
    assert tape.views == ("knn", "gmm")
    assert tape.lamps.tolist()[:3] == [[VOTES, QUIET], [QUIET, ABSTAINS], [UNSTORED, UNSTORED]]


@given(sizes=st.lists(st.integers(0, 9), min_size=1, max_size=4), data=st.data())
def test_candles_come_one_by_one_in_the_order_of_their_bars(sizes, data):
    """Each step shows one candle more; none is shown before an earlier bar's of another."""
    starts = [FIRST + MINUTE * data.draw(st.integers(0, 5)) for _ in sizes]
    pairs = list(zip(sizes, starts, strict=True))
    reel = Reel(tuple(tape_of("A", "1m", stored(9, start=at)) for n, at in pairs if n >= 0))
    counts = np.array([reel.shown(n) for n in range(len(reel) + 1)])
    assert (counts.sum(axis=1) == np.arange(len(reel) + 1)).all()
    assert (np.diff(counts, axis=0) >= 0).all()
    came = [reel.tapes[k].bars["ts"].iloc[i] for i, k in _nth(reel.order)]
    assert came == sorted(came)


def _nth(order):
    """Of each candle the number among its own, and its tape."""
    seen = dict.fromkeys(order.tolist(), 0)
    for k in order.tolist():
        yield seen[k], k
        seen[k] += 1


@given(
    looks=st.lists(st.floats(0, 0.9), max_size=20),
    speed=st.sampled_from([1, 10, 1000]),
    n=st.integers(1, 5000),
)
def test_a_player_keeps_its_speed_whenever_it_is_looked_at(looks, speed, n):
    """How far it came is the time that passed times the speed, however that was cut."""
    player, now = Player(None), 100.0
    player.play(n, now)
    for each in looks:
        now += each
        player.go_on(speed, n, now)
    assert player.at == pytest.approx(min(1 + speed * (now - 100.0), n))
    assert player.is_playing == (player.at < n)


def test_a_hidden_window_does_not_leap_ahead():
    """A look that comes a minute late goes on by a second."""
    player = Player(None)
    player.play(10_000, 0.0)
    assert player.go_on(100, 10_000, 60.0) == 101


@given(n=st.integers(1, 30), wide=st.sampled_from([60, 120]))
def test_a_picture_is_the_same_whatever_comes_after_it(n, wide):
    """Of bars that follow it knows nothing: cut off, they change not a letter of it."""
    whole = tape_of("A", "1m", stored(40))
    short = tape_of("A", "1m", Stored(*(t[t["ts"] <= whole.bars["ts"].iloc[n - 1]] for t in (
        stored(40).candles, stored(40).verdicts, stored(40).scores))))  # fmt: skip
    made = [
        figure(
            tape.bars.iloc[:n], tape.views, tape.lamps[:n], step=MINUTE, n_wide=wide, price="price"
        ).to_json()
        for tape in (whole, short)
    ]
    assert made[0] == made[1]


def test_a_view_with_a_name_like_markup_stays_words():
    """Plotly reads tags: there are none left in what it is given."""
    tape = tape_of("A", "1m", stored())
    drawn = figure(
        tape.bars, ("<a href=javascript:1>x</a>", "gmm"), tape.lamps, step=MINUTE, n_wide=60,
        price="price",
    )  # fmt: skip
    assert "<a" not in str(drawn.layout.yaxis2.ticktext)


def test_the_state_at_hand_is_that_of_the_warehouse(town):
    """From Redis or from the warehouse: the same sums, the same order, the same search."""
    from components.reading import live

    with Warehouse(town.world.postgres_url) as warehouse:
        held = warehouse.query("select * from live where interval = '1m'").sample(
            frac=1, random_state=1
        )
        ours, theirs = summary_of(held), live.summary(warehouse, "1m")
        names = ["n", "n_judged", "n_open", "updated_at", "ts", "lag_s"]
        assert ours[names].iloc[0].tolist() == theirs[names].iloc[0].tolist()
        for text in ("", "b", "usdt", "%"):
            wanted = live.rows(warehouse, "1m", text)["symbol"].tolist()
            assert rows_of(held, text)["symbol"].tolist() == wanted
