"""Incidents: adjacent bars are told once, a market-wide day is one alert, silence ends in time."""

from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components import incidents
from components.entrypoints import views
from components.errors import SettingsError
from components.incidents import CONTINUED, TOLD, Incident, followed
from components.steps import tell
from components.steps.labels import labelled_bars
from components.tables import CANDLES, INCIDENTS, MARKET, VERDICTS
from components.wiring import open_parts
from tests.worlds import LAST, SYMBOLS

# Sessions, weekends between them; the first twenty are a calm past.
DAYS = [day.tz_convert("UTC") for day in pd.bdate_range(end=LAST, periods=30)]
PAST, DAYS = DAYS[:20], DAYS[20:]
NYSE, ROUND_THE_CLOCK = "XNYS", "24/7"

MEDIUM, HIGH = (2, 0.004), (3, 0.004)
CALM = (0, 0.5)
LOW = (1, 0.01)


def noon_after(day):
    return day + pd.Timedelta(hours=36)


@contextmanager
def at_work(world, day):
    with open_parts(world.read_settings(), noon_after(day)) as parts:
        yield parts


@pytest.fixture
def desk(world):
    """A watch list with a calm past: what is judged later is news."""
    return calm(world)


def calm(world):
    world.put_market()
    with at_work(world, PAST[-1]) as parts:
        for day in PAST:
            store(parts, day, dict.fromkeys(SYMBOLS, CALM), known_at=noon_after(PAST[0]))
            store_market(parts, day, {NYSE: CALM, ROUND_THE_CLOCK: CALM}, noon_after(PAST[0]))
    return world


def store(parts, day, judged, known_at):
    """Verdicts (level, p, residual_p) of a bar, and the candles that they are about."""
    bar = {"interval": "1d", "ts": day, "known_at": known_at}
    rows = [
        {
            **bar,
            "symbol": symbol,
            "judge": parts.ensemble.name,
            "verdict": "anomaly" if level > 1 else "normal",
            "level": level,
            "p": p,
            "residual_p": rest[0] if rest else np.nan,
            "rate": 0.016,
            "return": -0.05,
            "scale": 0.01,
            "body": -0.01,
        }
        for symbol, (level, p, *rest) in judged.items()
    ]
    prices = {"open": 100.0, "high": 101.0, "low": 90.0, "close": 95.0, "volume": 1000.0}
    candles = [{**bar, **prices, "symbol": symbol, "source": "files"} for symbol in judged]
    parts.warehouse.upsert(CANDLES, pd.DataFrame(candles))
    parts.warehouse.upsert(VERDICTS, pd.DataFrame(rows))


def store_market(parts, day, judged, known_at):
    rows = [
        {
            "watch_list": calendar,
            "interval": "1d",
            "ts": day,
            "return": -0.031,
            "n_instruments": 3,
            "p": p,
            "verdict": "anomaly" if level > 1 else "normal",
            "known_at": known_at,
        }
        for calendar, (level, p) in judged.items()
    ]
    parts.warehouse.upsert(MARKET, pd.DataFrame(rows))


def run(world, *bars, market=None, day=None):
    """Judge bars (day, {symbol: verdict}) and tell; give what was told as (kind, day, symbols)."""
    day = bars[-1][0] if day is None else day
    with at_work(world, day) as parts:
        for each, judged in bars:
            store(parts, each, judged, noon_after(day))
        for each, judged in (market or {}).items():
            store_market(parts, each, judged, noon_after(day))
        alerts = tell(parts, parts.run.as_of)
    return [(a.kind, pd.Timestamp(a.ts), a.symbols) for a in alerts if a.kind != "data"]


def anomaly(day, *symbols):
    return "anomaly", day, symbols


def test_adjacent_bars_are_one_incident(desk):
    """The second and third day of a turbulent week are noted under the alert of the first."""
    assert run(desk, (DAYS[0], {"AAA": MEDIUM})) == [anomaly(DAYS[0], "AAA")]
    assert run(desk, (DAYS[1], {"AAA": MEDIUM})) == []
    assert run(desk, (DAYS[2], {"AAA": (2, 0.003)})) == []
    rows = desk.rows(INCIDENTS).query("kind != 'data'").sort_values("ts")
    assert rows["kind"].tolist() == ["anomaly", CONTINUED, CONTINUED]
    assert len(set(rows["alert_id"])) == len(set(rows["incident"])) == 1
    assert rows["incident"].iloc[0] == rows["id"].iloc[0]


def test_adjacent_means_the_bar_before_not_the_day_before(desk):
    """Monday continues Friday."""
    friday = next(n for n, day in enumerate(DAYS) if day.day_of_week == 4)
    run(desk, (DAYS[friday], {"AAA": MEDIUM}))
    assert run(desk, (DAYS[friday + 1], {"AAA": MEDIUM})) == []


@pytest.mark.parametrize(
    ("later", "is_told"),
    [(HIGH, True), ((2, 0.0004), True), ((2, 0.002), False), ((2, 0.01), False)],
)
def test_an_incident_is_told_again_only_when_it_is_clearly_worse(desk, later, is_told):
    """A higher level, or ten times rarer: half of the p is not another event."""
    run(desk, (DAYS[0], {"AAA": MEDIUM}))
    assert run(desk, (DAYS[1], {"AAA": later})) == [anomaly(DAYS[1], "AAA")] * is_told
    assert run(desk, (DAYS[2], {"AAA": later})) == []


def test_what_is_worse_is_measured_against_all_that_was_told(desk):
    """After HIGH, another MEDIUM and another HIGH are no news."""
    run(desk, (DAYS[0], {"AAA": MEDIUM}))
    run(desk, (DAYS[1], {"AAA": HIGH}))
    assert run(desk, (DAYS[2], {"AAA": MEDIUM})) == []
    assert run(desk, (DAYS[3], {"AAA": HIGH})) == []
    noted = desk.rows(INCIDENTS).query("kind != 'data'")
    assert len(set(noted["incident"])) == 1
    assert len(set(noted["alert_id"])) == 2


def test_an_incident_ends_with_the_first_normal_bar(desk):
    """LOW is normal too: recorded, not told."""
    run(desk, (DAYS[0], {"AAA": MEDIUM}))
    assert run(desk, (DAYS[1], {"AAA": LOW})) == []
    assert run(desk, (DAYS[2], {"AAA": MEDIUM})) == [anomaly(DAYS[2], "AAA")]


WEEK = {
    "AAA": [MEDIUM, MEDIUM, HIGH, LOW, MEDIUM],
    "BBB": [CALM, MEDIUM, (2, 0.0001), (2, 0.00009), CALM],
    "CCC": [HIGH, CALM, HIGH, CALM, HIGH],
}


def test_a_catch_up_run_tells_what_daily_runs_would_have(desk, make_world):
    """Five days judged in one go: the same bars are told, each under its own day."""
    days = [(DAYS[n], {symbol: week[n] for symbol, week in WEEK.items()}) for n in range(5)]
    daily = [told for day in days for told in run(desk, day)]
    other = calm(make_world())
    at_once = run(other, *days)
    assert sorted(daily) == sorted(at_once)
    assert at_once == sorted(at_once, key=lambda told: told[1], reverse=True)
    columns = ["id", "alert_id", "kind", "symbol", "ts", "incident"]
    noted = [w.rows(INCIDENTS).query("kind != 'data'")[columns] for w in (desk, other)]
    pd.testing.assert_frame_equal(*(rows.reset_index(drop=True) for rows in noted))


def test_repeating_a_run_tells_nothing_and_changes_nothing(desk):
    """Also of what continued, and of what was silenced."""
    days = [(DAYS[n], {symbol: week[n] for symbol, week in WEEK.items()}) for n in range(3)]
    first = run(desk, *days)
    before, mails = desk.rows(INCIDENTS), len(desk.messages())
    # The alerts of that instant are given back; nothing is made anew and nothing is sent.
    assert run(desk, *days) == first
    pd.testing.assert_frame_equal(desk.rows(INCIDENTS), before)
    assert len(desk.messages()) == mails


def test_a_late_bar_joins_the_incident_around_it(desk):
    """The file of one day came late: its bar lies between two that are noted."""
    run(desk, (DAYS[0], {"AAA": MEDIUM}))
    assert run(desk, (DAYS[2], {"AAA": MEDIUM})) == []
    assert run(desk, (DAYS[1], {"AAA": MEDIUM}), day=DAYS[3]) == []
    assert run(desk, (DAYS[1], {"BBB": MEDIUM}), day=DAYS[3]) != []
    # Before the first bar of an incident that was told: adjacent all the same.
    assert run(desk, (DAYS[0], {"BBB": MEDIUM}), day=DAYS[4]) == []
    assert run(desk, (DAYS[2], {"BBB": HIGH}), day=DAYS[4]) == [anomaly(DAYS[2], "BBB")]


def test_a_market_wide_day_is_one_alert(desk):
    """What went beyond the market comes first, the rarest first; the rest folds under it."""
    judged = {
        "AAA": (2, 0.004, 0.5),
        "BBB": (3, 0.0001, 0.03),
        "CCC": (2, 0.004, 0.001),
        "DDD-USD": MEDIUM,
    }
    told = run(desk, (DAYS[0], judged), market={DAYS[0]: {NYSE: MEDIUM, ROUND_THE_CLOCK: CALM}})
    assert sorted(told) == [
        anomaly(DAYS[0], "DDD-USD"),
        ("market", DAYS[0], ("CCC", "BBB", "AAA")),
    ]
    alert = desk.alerts("market")["payload"].iloc[0]
    assert alert["headline"].startswith(
        "Market-wide day (XNYS -3.1 %): CCC -5.0 % and 1 more beyond"
    )
    assert alert["n_folded"] == 1
    assert "1 more moved with the market: AAA" in alert["notes"]
    (mail,) = [m for m in desk.messages() if "Market-wide" in m["Subject"]]
    assert "beyond it (1 HIGH), 1 with it" in mail["Subject"]


def test_an_instrument_that_cannot_be_compared_is_not_folded_away(desk):
    """An unknown own part stands for itself."""
    judged = {"AAA": (2, 0.004), "BBB": (2, 0.004, 0.06)}
    run(desk, (DAYS[0], judged), market={DAYS[0]: {NYSE: MEDIUM}})
    assert desk.alerts("market")["payload"].iloc[0]["n_folded"] == 1
    assert desk.alerts("market")["symbols"].iloc[0] == ["AAA", "BBB"]


def test_a_market_wide_day_without_an_unusual_instrument_is_told(desk):
    """All moved, none of them far: that is news of the market, told once."""
    market = {DAYS[0]: {NYSE: MEDIUM}}
    assert run(desk, (DAYS[0], {"AAA": CALM}), market=market) == [("market", DAYS[0], ())]
    assert "no news of single instruments" in desk.alerts("market")["headline"].iloc[0]
    assert run(desk, (DAYS[1], {"AAA": CALM}), market={DAYS[1]: {NYSE: CALM}}) == []


def test_the_markets_own_days_are_incidents_as_well(desk):
    """A second market-wide day brings its new instruments, and alone it is no news."""
    run(desk, (DAYS[0], {"AAA": MEDIUM}), market={DAYS[0]: {NYSE: MEDIUM}})
    second = {DAYS[1]: {NYSE: MEDIUM}}
    assert run(desk, (DAYS[1], {"AAA": MEDIUM}), market=second) == []
    third = {DAYS[2]: {NYSE: MEDIUM}}
    assert run(desk, (DAYS[2], {"BBB": MEDIUM}), market=third) == [("market", DAYS[2], ("BBB",))]
    worse = {DAYS[3]: {NYSE: (2, 0.0001)}}
    assert run(desk, (DAYS[3], {"BBB": MEDIUM}), market=worse) == [("market", DAYS[3], ())]


def test_where_all_moved_with_the_market_two_are_explained(desk):
    """Nobody went beyond: the first are examples, the others are listed."""
    judged = {"AAA": (2, 0.004, 0.5), "BBB": (3, 0.004, 0.5), "CCC": (2, 0.01, 0.9)}
    told = run(desk, (DAYS[0], judged), market={DAYS[0]: {NYSE: MEDIUM}})
    assert told == [("market", DAYS[0], ("BBB", "AAA", "CCC"))]
    found = desk.alerts("market")["payload"].iloc[0]["findings"]
    assert [bool(each["reasons"]) for each in found] == [True, True, False]


def test_high_comes_before_medium_in_one_alert(desk):
    """Then the rarest; an alert that many instruments share begins with what counts most."""
    judged = {"AAA": (2, 0.001), "BBB": (3, 0.01), "CCC": (3, 0.002), "DDD-USD": (2, 0.0001)}
    assert run(desk, (DAYS[0], judged)) == [anomaly(DAYS[0], "CCC", "BBB", "DDD-USD", "AAA")]
    assert "(2 HIGH), CCC" in desk.alerts("anomaly")["headline"].iloc[0]


def test_the_history_of_a_new_watch_list_tells_no_market_wide_day(world):
    """Ten years that come at once: of them only the newest bar is news."""
    world.put_market()
    market = {day: {NYSE: MEDIUM if n % 2 else CALM} for n, day in enumerate(DAYS)}
    assert run(world, (DAYS[-1], {"AAA": CALM}), market=market) == [("market", DAYS[-1], ())]


def act(world, action, day, kind="anomaly", **said):
    alert = world.alerts(kind).sort_values("known_at").iloc[-1]
    with at_work(world, day) as parts:
        return views.act(parts.warehouse, alert["id"], action, noon_after(day), **said)


def test_an_acknowledged_incident_stays_quiet_until_it_clears(desk):
    """Even when it gets worse; the next one is told, in a catch-up run too."""
    run(desk, (DAYS[0], {"AAA": MEDIUM}))
    act(desk, "acknowledge", DAYS[0])
    assert run(desk, (DAYS[1], {"AAA": HIGH})) == []
    days = [(DAYS[2], {"AAA": HIGH}), (DAYS[3], {"AAA": CALM}), (DAYS[4], {"AAA": MEDIUM})]
    assert run(desk, *days) == [anomaly(DAYS[4], "AAA")]
    noted = desk.rows(INCIDENTS).query("kind != 'data'").set_index("ts")
    assert [noted["alert_id"][day] for day in DAYS[1:3]] == ["", ""]


def test_silence_may_be_asked_for_one_instrument_of_many(desk):
    """The other one of the alert is heard; a name that is not in the alert is refused."""
    run(desk, (DAYS[0], {"AAA": MEDIUM, "BBB": MEDIUM}))
    assert act(desk, "snooze", DAYS[0], symbol="AAA", until=noon_after(DAYS[5])) == ["AAA"]
    run(desk, (DAYS[1], {"AAA": CALM, "BBB": CALM}))
    assert run(desk, (DAYS[2], {"AAA": HIGH, "BBB": HIGH})) == [anomaly(DAYS[2], "BBB")]
    with pytest.raises(SettingsError, match="It is about: BBB"):
        act(desk, "snooze", DAYS[2], symbol="ZZZ", until=noon_after(DAYS[5]))
    # The snooze is over in the middle of an incident of which nothing was told.
    run(desk, (DAYS[5], {"AAA": MEDIUM}), day=DAYS[5] - pd.Timedelta(hours=1))
    assert run(desk, (DAYS[6], {"AAA": MEDIUM})) != []


def test_a_market_wide_day_can_be_acknowledged(desk):
    """Its instruments and the market are quiet until each is calm again."""
    run(desk, (DAYS[0], {"AAA": MEDIUM}), market={DAYS[0]: {NYSE: MEDIUM}})
    assert act(desk, "acknowledge", DAYS[0], kind="market") == ["AAA", NYSE]
    worse = {DAYS[1]: {NYSE: (2, 0.00001)}}
    assert run(desk, (DAYS[1], {"AAA": HIGH}), market=worse) == []
    run(desk, (DAYS[2], {"AAA": CALM}), market={DAYS[2]: {NYSE: CALM}})
    again = {DAYS[3]: {NYSE: MEDIUM}}
    assert run(desk, (DAYS[3], {"AAA": MEDIUM}), market=again) == [("market", DAYS[3], ("AAA",))]


def test_a_label_is_shown_in_the_instruments_next_message(desk):
    """Who is told again learns what the last one was found to be."""
    run(desk, (DAYS[0], {"AAA": MEDIUM}))
    act(desk, "label", DAYS[0], label="expected", note="index rebalancing")
    run(desk, (DAYS[1], {"AAA": CALM}))
    run(desk, (DAYS[2], {"AAA": MEDIUM, "BBB": MEDIUM}))
    first, second = desk.alerts("anomaly")["payload"].iloc[-1]["findings"]
    said = (
        f"its alert of {DAYS[0]:%Y-%m-%d} was labelled expected on {noon_after(DAYS[0]):%Y-%m-%d}"
    )
    assert f"{said}: index rebalancing" in first["reasons"]
    assert "labelled" not in " ".join(second["reasons"])
    with at_work(desk, DAYS[2]) as parts:
        listed = views.alerts(parts.warehouse, 10)
    assert "expected" in set(listed["said"].dropna())


def test_labelled_bars_are_those_of_the_whole_incident_as_known_then(desk):
    """The newest label counts, from the instant at which it was given."""
    run(desk, (DAYS[0], {"AAA": MEDIUM, "BBB": MEDIUM}))
    run(desk, (DAYS[1], {"AAA": MEDIUM}))
    act(desk, "label", DAYS[1], label="confirmed", symbol="AAA")
    act(desk, "label", DAYS[3], label="data-error", symbol="AAA")

    def at(day):
        with at_work(desk, day) as parts:
            rows = labelled_bars(parts.warehouse, SYMBOLS, "1d", noon_after(day))
        return [tuple(row) for row in rows[["symbol", "ts", "label"]].itertuples(index=False)]

    assert at(DAYS[0]) == []
    assert at(DAYS[2]) == [("AAA", day, "confirmed") for day in DAYS[:2]]
    assert at(DAYS[3]) == [("AAA", day, "data-error") for day in DAYS[:2]]


def test_a_bar_behind_a_data_error_is_news_of_its_own(desk):
    """It continues nothing that happened, and the label, older than the bar, is not said of it."""
    run(desk, (DAYS[0], {"AAA": (3, 1e-9), "BBB": (3, 1e-9)}))
    act(desk, "label", DAYS[0], label="data-error", symbol="AAA")
    told = run(desk, (DAYS[1], {"AAA": MEDIUM, "BBB": MEDIUM}))
    assert told == [anomaly(DAYS[1], "AAA")]
    with at_work(desk, DAYS[2]) as parts:
        rows = labelled_bars(parts.warehouse, SYMBOLS, "1d", noon_after(DAYS[2]))
    assert rows["ts"].tolist() == [DAYS[0]]


def test_a_bar_that_goes_on_after_a_label_is_not_labelled_by_it(desk):
    """A person spoke of what was known: what followed may have been real."""
    run(desk, (DAYS[0], {"AAA": HIGH}))
    act(desk, "label", DAYS[0], label="expected", symbol="AAA")
    run(desk, (DAYS[1], {"AAA": MEDIUM}))
    with at_work(desk, DAYS[2]) as parts:
        rows = labelled_bars(parts.warehouse, SYMBOLS, "1d", noon_after(DAYS[2]))
    assert rows["ts"].tolist() == [DAYS[0]]


def test_the_incidents_told_are_printed_beside_the_budget(desk):
    """Three bars of one incident count once."""
    run(desk, (DAYS[0], {"AAA": MEDIUM}))
    run(desk, (DAYS[1], {"AAA": HIGH, "BBB": MEDIUM}))
    text = desk.messages()[-1].get_body(("plain",)).get_content()
    assert "2 incidents in 2 alerts" in " ".join(text.split())


def test_a_note_of_an_older_release_is_not_told_again(desk):
    """It has no incident: the bar is its own."""
    run(desk, (DAYS[0], {"AAA": MEDIUM}))
    desk.query("update incidents set incident = null returning id")
    assert run(desk, (DAYS[1], {"AAA": MEDIUM})) == []


LEVELS = st.tuples(st.sampled_from([0, 1, 2, 2, 3]), st.floats(1e-6, 0.016))


def noted_by(rows, known):
    """Tell what is known, bar after bar as it is given in ``known``; give the notes."""
    notes = pd.DataFrame(columns=["id", "symbol", "ts", "kind", "alert_id", "incident"])
    for places in known:
        seen = rows.iloc[: max(places) + 1]
        odd = seen[seen["level"] > 1].assign(is_fresh=True, is_quiet=False)
        odd["follows"] = (seen["level"] > 1).shift(fill_value=False)[odd.index]
        found = followed(odd, notes)
        new = found.assign(alert_id=found["id"].where(found["fate"] == TOLD, found["teller"]))
        new["kind"] = new["fate"].map({TOLD: "anomaly", CONTINUED: CONTINUED})
        notes = pd.concat([notes, new[notes.columns]], ignore_index=True)
    return notes


@given(levels=st.lists(LEVELS, min_size=1, max_size=14), cuts=st.sets(st.integers(1, 13)))
def test_however_the_days_come_the_same_bars_are_told(levels, cuts):
    """Day by day, or several days judged by one run: one telling of an incident, in time order."""
    n = len(levels)
    rows = pd.DataFrame(levels, columns=["level", "p"])
    rows["symbol"], rows["ts"] = "AAA", pd.date_range("2024-01-01", periods=n, tz="UTC")
    rows["id"] = [Incident("anomaly", "AAA", "1d", ts).id for ts in rows["ts"]]
    edges = sorted({n, *(cut for cut in cuts if cut < n)})
    pieces = [range(start, end) for start, end in zip([0, *edges], edges, strict=False)]
    notes = noted_by(rows, [[n] for n in range(n)])
    pd.testing.assert_frame_equal(notes, noted_by(rows, pieces))
    assert set(notes["id"]) == set(rows.loc[rows["level"] > 1, "id"])
    for _, incident in notes.merge(rows[["id", "level", "p"]]).groupby("incident"):
        told = incident[incident["kind"] == "anomaly"]
        assert told["id"].iloc[0] == incident["id"].iloc[0]
        worse = (told["level"] > told["level"].cummax().shift()) | (
            told["p"] <= incidents.CLEARLY_WORSE * told["p"].cummin().shift()
        )
        assert worse.iloc[1:].all()
