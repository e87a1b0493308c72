"""The page Evaluation, as a person at the desk uses it, in a real browser."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.entrypoints.dashboard import evaluated, jobs
from components.entrypoints.dashboard.held import Held
from components.errors import LakeError, SettingsError
from components.evaluation.curve import MOST_POINTS, precision_recall
from components.evaluation.finding import Trial, average_precision
from components.evaluation.told import Told
from components.plots import evaluation as plots
from components.reading.vectors import placed
from components.wiring import open_warehouse, registry_of
from tests.browser import dashboard, picture, serious, settle, words
from tests.model_pages import (
    choose,
    ended,
    held_by,
    is_scrolled_sideways,
    judged_world,
    look,
    press,
    settings_of,
    write,
)
from tests.terminal import tremor


@pytest.fixture(scope="module")
def world(tmp_path_factory, postgres_server):
    """A judged market, a forest that has not earned promotion, and a mixture that has."""
    world = judged_world(tmp_path_factory, postgres_server, "page_evaluation")
    forest = ("train", "isolation_forest", "--set", "n_trees=20")
    assert tremor(world, *forest).code == 0
    assert tremor(world, "train", "gmm", "--set", "n_components=6").code == 0
    return world


@pytest.fixture(scope="module")
def desk(world):
    """A dashboard of who may write."""
    with dashboard(world.folder, settings_of(world), "--role", "write") as running:
        yield running


@pytest.fixture(scope="module")
def registry(world):
    """The registered models."""
    return registry_of(world.read_settings())


def versions(chromium, desk, **window):
    """The page with its versions."""
    page = look(chromium, desk, "evaluation", **window)
    page.wait_for_selector("text=All figures of their contests")
    settle(page)
    return page


def part(page, name):
    """Go to another part of the page."""
    page.get_by_role("radiogroup").get_by_text(name).click()
    settle(page)


def champions(registry):
    """The numbers of the versions that are champion."""
    return [each.number for each in registry.versions() if "champion" in each.aliases]


def promoted(page, version):
    """Ask for a promotion, say yes, and wait for its end."""
    choose(page, "Version to promote", version)
    press(page, "Promote")
    page.wait_for_selector("text=is tried once more on the bars")
    press(page, "Try and promote")
    page.wait_for_selector("text=A promotion is going on")
    ended(page)


def test_versions_stand_side_by_side_at_an_equal_rate(world, desk, chromium, registry):
    """Found by kind, rate and figures of each: those that the registry keeps."""
    errors = []
    page = versions(chromium, desk, errors=errors)
    seen = words(page)
    assert "No version is champion: the views judge without a trained model." in seen
    for title in ("1: isolation_forest", "2: gmm (challenger)"):
        assert title in seen
    for kind in ("spike reverts", "volatility burst", "bad tick"):
        assert kind in seen
    assert "alerts per instrument and year" in seen
    assert "stated, 4" in seen
    assert page.get_by_test_id("stPlotlyChart").count() == 2
    assert serious(page) == []
    picture(page, "evaluation_versions")
    assert errors == []


def test_a_version_that_has_not_earned_it_is_refused_with_the_reasons(
    world, desk, chromium, registry
):
    """Asked for twice, tried by the same rule as the command, and nothing changes."""
    page = versions(chromium, desk)
    choose(page, "Version to promote", "1: isolation_forest")
    press(page, "Promote")
    page.wait_for_selector("text=is tried once more on the bars")
    picture(page, "evaluation_confirm")
    press(page, "Cancel")
    settle(page)
    assert jobs.last(world.read_settings(), "promote").state == jobs.NONE
    promoted(page, "1: isolation_forest")
    seen = words(page)
    assert "version 1 is not promoted" in seen
    assert re.search(r"NO beats the volatility_zscore: finds \d", seen)
    assert champions(registry) == []
    picture(page, "evaluation_refused")


def test_a_version_that_has_earned_it_judges_and_can_be_taken_back(world, desk, chromium, registry):
    """Champion on the page and in the registry; the one before comes back, once."""
    page = versions(chromium, desk)
    promoted(page, "2: gmm")
    assert champions(registry) == ["2"]
    seen = words(page)
    assert "version 2 is the champion of tremor-1d: the next run judges with it" in seen
    assert "Version 2, gmm, is the champion." in seen
    # Another was crowned since, by a way that asks nothing.
    registry.promote(registry.version("1"))
    page = versions(chromium, desk)
    assert "Version 1, isolation_forest, is the champion." in words(page)
    press(page, "Roll back")
    page.wait_for_selector("text=votes again from the next run on")
    press(page, "Go back")
    page.wait_for_selector("text=Version 2 is the champion of tremor-1d again")
    settle(page)
    assert champions(registry) == ["2"]
    assert "Version 2, gmm, is the champion." in words(page)
    press(page, "Roll back")
    page.wait_for_selector("text=votes again from the next run on")
    press(page, "Go back")
    page.wait_for_selector("text=has no champion before this one to go back to")
    assert champions(registry) == ["2"]


def test_who_may_look_only_sees_all_and_changes_nothing(world, chromium, registry):
    """Buttons that store are off, with the reason; the work refuses such a visitor itself."""
    before = champions(registry)
    with dashboard(world.folder, settings_of(world), "--role", "read") as running:
        page = versions(chromium, running)
        assert "This needs the write role" in words(page)
        for name in ("Promote", "Roll back"):
            assert page.get_by_role("button", name=name, exact=True).is_disabled()
        assert serious(page) == []
        part(page, "Rate and recall")
        page.get_by_text("Evaluate anew").click()
        settle(page)
        assert page.get_by_role("button", name="Evaluate", exact=True).is_disabled()
    for kind in ("promote", "evaluate"):
        with pytest.raises(SettingsError, match="write role"):
            jobs.start(held_by(world, "read"), kind, {"version": "1"})
    assert champions(registry) == before


def test_an_evaluation_of_the_command_line_is_shown_as_far_as_it_goes(world, desk, chromium):
    """Its figures; no curve is drawn that it does not hold."""
    assert tremor(world, "evaluate", "--symbols", "C00-USD,C01-USD,SOL-USD").code == 0
    page = look(chromium, desk, "evaluation")
    part(page, "Rate and recall")
    page.wait_for_selector("text=Known events")
    settle(page)
    seen = words(page)
    assert "keeps no curve, only the average precision below" in seen
    assert "recall: share of planted anomalies found" not in seen
    assert "on 3 instruments" in seen
    (path,) = (world.folder / "var/lake/runs").glob("evaluate-*/evaluation.json")
    found = json.loads(path.read_text())
    assert f"{100 * found['planted']['recall']:.1f} %" in seen
    for year in found["realised"]["by_year"]:
        assert year in seen
    assert f"of {found['events']['n']} events were told" in seen.replace("events.", "events")


def test_a_person_evaluates_a_part_and_sees_rate_recall_and_events(world, desk, chromium):
    """Started here, it keeps its curves; what is drawn is what the lake holds."""
    page = look(chromium, desk, "evaluation")
    part(page, "Rate and recall")
    page.get_by_text("Evaluate anew").click()
    write(page, "Instruments, drawn by the seed (0: all)", "0")
    press(page, "Evaluate")
    page.wait_for_selector("text=An evaluation is going on")
    ended(page)
    page.wait_for_selector("text=Known events")
    settle(page)
    said = jobs.last(world.read_settings(), "evaluate").outcome
    path = world.folder / "var/lake/runs" / said["run"] / "evaluation.json"
    found = json.loads(path.read_text())
    assert path.with_suffix(".html").is_file()
    for block in (found, *(found["baselines"][n] for n in ("amplitude_zscore", "dual_stream"))):
        curve = block["planted"]["curve"]
        assert len(curve["recall"]) == len(curve["precision"]) > 10
        assert curve["recall"] == sorted(curve["recall"])
    # A baseline judges alone, also the bars that the champion was trained on.
    assert found["baselines"]["volatility_zscore"]["planted"]["curve"]["recall"][-1] > 0.9
    outcomes = [each["outcome"] for each in found["events"]["each"]]
    assert len(outcomes) - outcomes.count("undecided") == found["events"]["n"] > 0
    assert outcomes.count("lost") == len(found["events"]["missed"])
    assert outcomes.count("undecided") == found["events"]["n_undecided"]
    seen = words(page)
    # An invisible joiner keeps what follows a name's sign from being made a link.
    assert "market, pump, knn, kmeans, gmm, gmm@2" in seen.replace("\u2060", "")
    assert "on 10 instruments" in seen
    assert "recall: share of planted anomalies found" in seen
    assert "calendar year (UTC)" in seen
    assert page.get_by_test_id("stPlotlyChart").count() == 3
    assert serious(page) == []
    picture(page, "evaluation_proof")
    with page.expect_download() as begun:
        page.get_by_role("button", name="The whole report").click()
    assert Path(begun.value.path()).read_bytes() == path.with_suffix(".html").read_bytes()


def test_the_map_shows_the_bars_of_an_instrument_by_cluster(world, desk, chromium):
    """All its judged bars, each in one cluster, the anomalies ringed, the axes' shares named."""
    page = look(chromium, desk, "evaluation")
    part(page, "Map of bars")
    write(page, "Search an instrument", "c03")
    page.wait_for_selector("text=Ringed bars")
    settle(page)
    seen = words(page)
    with open_warehouse(world.read_settings()) as warehouse:
        rows = placed(warehouse, "C03-USD", "1d", 1500)
    n_bars = int(rows["return_z"].notna().sum())
    n_odd = int((rows["verdict"] == "anomaly").sum())
    counts = [int(n.replace(",", "")) for n in re.findall(r"cluster \d+: ([\d,]+)", seen)]
    assert sum(counts) == n_bars
    assert len(counts) == 8
    assert f"anomaly: {n_odd}" in seen
    assert n_odd > 0
    shares = [int(n) for n in re.findall(r"axis, (\d+)% of the variance", seen)]
    assert 0 < shares[1] <= shares[0] <= 100
    assert serious(page) == []
    picture(page, "evaluation_map")
    choose(page, "Grouped by", "champion: gmm@2")
    settle(page)
    n_of_model = len(re.findall(r"cluster \d+: ", words(page)))
    assert 1 <= n_of_model <= 6
    write(page, "Search an instrument", "<b>**zz**</b>")
    page.wait_for_selector("text=No judged instrument")
    assert "name holds <b>**zz**</b>." in words(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_can_be_used_by_everybody(desk, chromium, scheme):
    """No serious finding of axe on any part, in light and dark; a phone cuts nothing off."""
    for name in ("Versions", "Rate and recall", "Map of bars"):
        phone = look(chromium, desk, "evaluation", width=390, height=844, scheme=scheme)
        part(phone, name)
        phone.wait_for_selector("[data-testid=stPlotlyChart]")
        settle(phone)
        assert not is_scrolled_sideways(phone), name
        picture(phone, f"evaluation_phone_{name.split()[0].lower()}_{scheme}")
        assert serious(phone) == [], name
    page = versions(chromium, desk, scheme=scheme)
    assert serious(page) == []
    picture(page, f"evaluation_{scheme}")


def test_nothing_yet_is_said_with_what_to_do(tmp_path, make_postgres_url, chromium):
    """No model, no evaluation, no verdict: each part says which command brings it."""
    settings = {"warehouse_url": make_postgres_url(), "state_dir": tmp_path / "var"}
    with dashboard(tmp_path, settings) as running:
        page = look(chromium, running, "evaluation")
        page.wait_for_selector("text=No model of 1d bars is registered")
        part(page, "Rate and recall")
        page.wait_for_selector("text=No evaluation is stored in the lake")
        part(page, "Map of bars")
        page.wait_for_selector("text=Nothing is judged yet")
        assert not (tmp_path / "var" / "mlflow").exists()


def test_a_file_that_is_no_evaluation_is_named(tmp_path):
    """A damaged object is a line with the remedy, and no traceback."""
    from components.settings import Settings

    for n, body in enumerate(("{", "[]", '{"realised": 3}')):
        folder = tmp_path / "lake" / "runs" / f"evaluate-{n}"
        folder.mkdir(parents=True)
        (folder / "evaluation.json").write_text(body)
        settings = Settings(_env_file=None, state_dir=tmp_path, lake_url=str(tmp_path / "lake"))
        held = Held(settings, None, "", "read", pd.Timestamp.now("UTC"))
        with pytest.raises(LakeError, match="is no evaluation"):
            evaluated.read.__wrapped__(held, f"runs/evaluate-{n}/evaluation.json")


def trial(surprise, plants, aside):
    """One instrument whose bars have these surprises, and plants of one bar at these places."""
    n = len(surprise)
    ts = np.arange(n).astype("datetime64[D]").astype("datetime64[us]")[None]
    nothing = np.zeros((1, n))
    told = Told(
        symbols=("A",),
        ts=ts,
        is_alert=nothing.astype(bool),
        level=nothing.astype(int),
        surprise=np.array([surprise], dtype=float),
        move=nothing,
        scale=nothing,
        per_year=np.array([365.0]),
    )
    at = pd.DatetimeIndex(ts[0, plants], tz="UTC")
    table = pd.DataFrame({"symbol": "A", "ts": at, "until": at, "is_aside": aside})
    return Trial(told, table)


@given(st.data())
def test_the_curve_is_what_counting_gives(data):
    """At each of its points: the plants told at that threshold, and the share of plants in it."""
    n = data.draw(st.integers(4, 40))
    surprise = data.draw(st.lists(st.integers(0, 9), min_size=n, max_size=n))
    plants = data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=n, unique=True))
    aside = data.draw(st.lists(st.booleans(), min_size=len(plants), max_size=len(plants)))
    found = precision_recall([trial(surprise, plants, aside)])
    own = [np.inf if kept else surprise[at] for at, kept in zip(plants, aside, strict=True)]
    outside = [value for at, value in enumerate(surprise) if at not in plants]
    points = {
        (
            sum(each >= least for each in own) / len(own),
            sum(each >= least for each in own)
            / (sum(each >= least for each in own) + sum(each >= least for each in outside)),
        )
        for least in own
    }
    assert set(zip(found["recall"], found["precision"], strict=True)) == points
    assert len(found["recall"]) <= MOST_POINTS
    # The mean over plants of the precision is the average precision of the report.
    each = [dict(points)[sum(o >= mine for o in own) / len(own)] for mine in own]
    assert np.mean(each) == pytest.approx(
        average_precision(np.array(own, dtype=float), np.array(outside, dtype=float))
    )


def test_a_kind_without_a_figure_has_no_mark_and_years_without_a_rate_no_bar():
    """What was not measured is not drawn as nought."""
    figure = plots.found_by_kind({"one": {"bad_tick": None, "pump": 0.5}}, "share")
    assert list(figure.data[0].y) == ["pump"]
    by_year = {
        "2020": {"rate": None, "n_instruments": 0},
        "2021": {"rate": 3.0, "n_instruments": 2},
    }
    bars, line = plots.rate_by_year(by_year, 4.0).data
    assert (list(bars.x), list(line.y)) == (["2021"], [4.0])


def test_every_cluster_of_the_map_has_a_shape_of_its_own():
    """Colour alone tells nothing to some; the ring stands for what was judged an anomaly."""
    points = pd.DataFrame({
        "x": range(8), "y": range(8), "cluster": range(1, 9), "level": [0] * 7 + [2], "told": "bar",
    })  # fmt: skip
    *clusters, ring = plots.bars_map(points, (0.5, 0.25)).data
    assert len({each.marker.symbol for each in clusters}) == 8
    assert list(ring.x) == [7]
