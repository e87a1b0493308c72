"""Alerts, incidents, instruments, runs, models, health: what is stored, page by page."""

import pandas as pd
import pytest

from tests.api_server import made_world, serving
from tests.test_api_guard import is_problem
from tests.worlds import DAY, LAST, MORNING


@pytest.fixture(scope="module")
def town(tmp_path_factory, postgres_server):
    """A world in which something was told on several days."""
    world = made_world(tmp_path_factory.mktemp("town"), postgres_server)
    for back in (2, 1, 0):
        world.put_market(LAST - back * DAY, AAA=0.2 + 0.1 * back, BBB=0.3 * (back == 0))
        world.run(MORNING - back * DAY)
    return world


@pytest.fixture(scope="module")
def api(town):
    """The API over it."""
    with serving(town, "--open") as opened:
        yield opened


def all_pages(api, path, limit):
    """Every row of a list, read a page at a time, as ``next`` says."""
    found, cursor, seen = [], None, 0
    while True:
        params = {"limit": limit, **({"cursor": cursor} if cursor else {})}
        page = api.get(path, params=params)
        found += page.json()["items"]
        cursor, seen = page.json()["next"], seen + 1
        assert ('rel="next"' in page.headers.get("link", "")) == (cursor is not None)
        if cursor is None:
            return found
        assert seen < 500


@pytest.mark.parametrize(
    "path", ["/v1/alerts", "/v1/runs", "/v1/instruments/AAA/candles", "/v1/instruments/AAA/scores"]
)
def test_pages_hold_every_row_once(api, path):
    """Read in pages of one or two, or of five hundred, the list is the same."""
    whole = api.get(path, params={"limit": 500}).json()["items"][:60]
    small = all_pages(api, path, 7)[:60]
    assert len(whole) >= 3
    assert small == whole


def test_alerts_are_found_by_what_they_are_about(api, town):
    """By instrument, level, kind, span, and whether anybody has answered."""
    stored = town.alerts()
    every = api.get("/v1/alerts", params={"limit": 500}).json()["items"]
    assert {each["id"] for each in every} == set(stored["id"])
    of_bbb = api.get("/v1/alerts", params={"symbol": "BBB"}).json()["items"]
    assert of_bbb
    assert all("BBB" in each["symbols"] for each in of_bbb)
    assert len(of_bbb) < len(every)
    high = api.get("/v1/alerts", params={"level": 3}).json()["items"]
    assert {each["id"] for each in high} == {each["id"] for each in every if each["level"] == 3}
    since = LAST.isoformat()
    late = api.get("/v1/alerts", params={"since": since}).json()["items"]
    assert {each["ts"] for each in late} == {f"{LAST:%Y-%m-%dT%H:%M:%S}+00:00"}
    assert api.get("/v1/alerts", params={"kind": "data"}).json()["items"] == []


def test_who_answers_an_alert_is_heard_by_the_next_run_and_by_the_list(api, town):
    """Acknowledge, snooze and label say what the command line says, and the list shows it."""
    newest = api.get("/v1/alerts").json()["items"][0]["id"]
    opened = api.get("/v1/alerts", params={"state": "open"}).json()["items"]
    assert newest in {each["id"] for each in opened}
    path = f"/v1/alerts/{newest}"
    assert api.post(f"{path}/acknowledge", json={"note": "seen"}).json()["action"] == "acknowledge"
    until = "2100-04-01"
    snoozed = api.post(f"{path}/snooze", json={"until": until, "symbol": "AAA"}).json()
    assert snoozed["symbols"] == ["AAA"]
    assert api.post(f"{path}/label", json={"label": "confirmed"}).ok
    said = api.get(path).json()["said"]
    assert {each["action"] for each in said} == {"acknowledge", "snooze", "label"}
    rows = town.query("select * from labels where alert_id = %(id)s", id=newest)
    assert set(rows["action"]) == {"acknowledge", "snooze", "label"}
    assert (rows.loc[rows["action"] == "snooze", "until"].dt.strftime("%Y-%m-%d") == until).all()
    opened = api.get("/v1/alerts", params={"state": "open"}).json()["items"]
    assert newest not in {each["id"] for each in opened}


def test_what_cannot_be_said_is_refused_by_field(api):
    """A day that is past, a finding nobody knows, an instrument the alert is not about."""
    newest = api.get("/v1/alerts").json()["items"][0]["id"]
    for action, body, field in [
        ("snooze", {}, "until"),
        ("label", {"label": "wrong"}, "label"),
        ("label", {}, "label"),
        ("acknowledge", {"note": 5}, "note"),
    ]:
        said = is_problem(api.post(f"/v1/alerts/{newest}/{action}", json=body), 422)
        assert said["errors"][0]["field"] == field, said
    for action, body, field in [
        ("snooze", {"until": "2020-01-01"}, "until"),
        ("acknowledge", {"symbol": "ZZZ"}, "symbol"),
    ]:
        said = is_problem(api.post(f"/v1/alerts/{newest}/{action}", json=body), 409)
        assert said["errors"][0]["field"] == field, said
    is_problem(api.post("/v1/alerts/ffffffffffff/acknowledge", json={}), 404)


def test_an_incident_has_its_bars_its_reasons_and_its_picture(api, town):
    """By its own name or by that of one of its bars."""
    rows = town.query("select * from incidents where symbol = 'AAA' order by ts")
    first = rows.iloc[0]
    said = api.get(f"/v1/incidents/{first['id']}").json()
    same = rows[rows["incident"] == first["incident"]]
    assert [bar["id"] for bar in said["bars"]] == list(same["id"])
    for bar in same["id"]:
        assert api.get(f"/v1/incidents/{bar}").json()["id"] == said["id"]
    told = said["alerts"][first["alert_id"]]
    assert told["findings"][0]["symbol"] == "AAA"
    assert told["findings"][0]["reasons"]
    picture = api.get(said["chart"])
    assert picture.headers["content-type"] == "image/png"
    assert picture.content.startswith(b"\x89PNG")
    assert picture.headers["cache-control"] == "private, max-age=86400"
    again = api.get(said["chart"], headers={"If-None-Match": picture.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_candles_and_scores_are_those_that_are_stored(api, town):
    """The newest first, the latest version of each bar, with the scores of each view."""
    stored = town.query(
        "select distinct on (ts) * from verdicts where symbol = 'BBB' "
        "order by ts desc, known_at desc limit 5"
    )
    found = api.get("/v1/instruments/BBB/scores", params={"limit": 5}).json()["items"]
    assert [each["p"] for each in found] == list(stored["p"])
    assert all(len(each["views"]) == 5 for each in found)
    bars = api.get("/v1/instruments/BBB/candles", params={"limit": 2}).json()["items"]
    assert bars[0]["ts"].startswith(f"{LAST:%Y-%m-%d}")
    until = {"until": LAST.isoformat(), "limit": 1}
    (before,) = api.get("/v1/instruments/BBB/candles", params=until).json()["items"]
    assert before == bars[1]
    nothing = api.get("/v1/instruments/BBB/candles", params={"until": "1980-01-01T00:00:00Z"})
    assert nothing.json()["items"] == []
    is_problem(api.get("/v1/instruments/ZZZ/candles"), 404)


def test_instruments_are_found_by_their_names(api):
    """Those that begin with what is looked for come first."""
    found = api.get("/v1/instruments", params={"search": "d"}).json()["items"]
    assert [each["symbol"] for each in found] == ["DDD-USD"]
    assert len(api.get("/v1/instruments").json()["items"]) == 4
    whole = [each["symbol"] for each in all_pages(api, "/v1/instruments", 3)]
    assert sorted(whole) == ["AAA", "BBB", "CCC", "DDD-USD"]


def test_health_says_what_lacks(api):
    """Live and ready; bars of years ago are no fresh ones."""
    said = api.get("/v1/health").json()
    assert (said["live"], said["ready"], said["state"]) == (True, True, "degraded")
    assert said["checks"]["database"]["last_run"]["status"] == "finished"
    assert said["checks"]["freshness"]["late"] == 4
    assert said["checks"]["model"]["ok"]


def test_models_say_who_judges(api):
    """Without a registered one the untrained ensemble does."""
    said = api.get("/v1/models").json()
    assert said["items"] == []
    assert said["judge"]["views"] == ["market", "pump", "knn", "kmeans", "gmm"]


def test_lists_have_tags_so_that_what_is_unchanged_is_not_sent_again(api):
    """304 while nothing new is stored."""
    first = api.get("/v1/runs")
    tag = {"If-None-Match": first.headers["etag"]}
    assert api.get("/v1/runs", headers=tag).status_code == 304


def test_times_are_instants_with_a_zone(api):
    """Nobody has to guess."""
    for path in ("/v1/alerts", "/v1/runs", "/v1/instruments"):
        for item in api.get(path).json()["items"]:
            times = [v for k, v in item.items() if k in ("ts", "known_at", "as_of", "started_at")]
            assert all(pd.Timestamp(each).tzinfo is not None for each in times)
