"""The page Training, as a person at the desk uses it, in a real browser."""

import itertools
import json
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.detectors.kmeans import KMeansDistance
from components.entrypoints.dashboard import jobs, working
from components.entrypoints.dashboard.searching import MOST_TRIED, searched
from components.entrypoints.dashboard.work_on_models import place_of
from components.errors import AnotherRunAtWork, SettingsError
from components.plots.training import recall_of_methods
from components.settings import Settings
from components.training import trainable
from components.wiring import registry_of
from tests.browser import dashboard, picture, serious, settle, words
from tests.model_pages import (
    ENDED_MS,
    begin,
    choose,
    database_of,
    ended,
    held_by,
    is_scrolled_sideways,
    judged_world,
    look,
    press,
    settings_of,
    write,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory, postgres_server):
    """A judged market."""
    return judged_world(tmp_path_factory, postgres_server, "page_training")


@pytest.fixture(scope="module")
def desk(world):
    """A dashboard of who may write."""
    with dashboard(world.folder, settings_of(world), "--role", "write") as running:
        yield running


def test_a_person_trains_a_forest_leaves_the_page_and_finds_it_registered(world, desk, chromium):
    """Progress, then figures, the checklist and the run: those that MLflow's database holds."""
    errors = []
    page = look(chromium, desk, "training", errors=errors)
    page.wait_for_selector("text=Hyper-parameters")
    choose(page, "Detector", "Isolation forest")
    write(page, "n trees (whole number)", "20")
    page.get_by_text("How it is tried").click()
    write(page, "Panels planted with anomalies", "3")
    press(page, "Train")
    page.wait_for_selector("text=A training is going on")
    page.get_by_role("link", name="Evaluation").click()
    page.wait_for_selector("h1:has-text('Evaluation')")
    page.get_by_role("link", name="Training").click()
    page.wait_for_selector("h1:has-text('Training')")
    page.wait_for_selector("text=The last training", timeout=ENDED_MS)
    ended(page)

    kept = registry_of(world.read_settings())
    version = kept.version("challenger")
    figures, trained = kept.figures(version), kept.load("challenger")
    assert database_of(world).is_file()
    assert trained.hyper == {"n_trees": 20, "n_samples": 128}
    seen = words(page)
    assert f"Version {version.number}, Isolation forest, is the challenger" in seen
    assert f"Planted anomalies found {100 * figures['recall_planted']:.1f} %" in seen
    assert f"{figures['alerts_per_year_realised']:.2f}" in seen
    assert f"run {version.run} of the experiment tremor-1d, in" in seen
    assert "n trees 20, n samples 128" in seen
    assert "beats the untrained twin" in seen
    assert seen.count("yes:") + seen.count("no:") == 4
    assert page.get_by_test_id("stPlotlyChart").count() == 1
    assert errors == []
    assert "Traceback" not in desk.said


def test_a_search_says_how_many_were_tried_and_takes_the_least_criterion(world, desk, chromium):
    """Three values, each fitted on the training bars; the grid with all of them is in MLflow."""
    page = look(chromium, desk, "training")
    page.wait_for_selector("text=Hyper-parameters")
    choose(page, "Detector", "K-Means")
    page.get_by_text("Search over a few values").click()
    settle(page)
    write(page, "Values of n clusters, separated by commas", "3, 5, 9")
    assert "3 settings will be tried" in words(page)
    picture(page, "training_search")
    press(page, "Train")
    page.wait_for_selector("text=A training is going on")
    ended(page)
    seen = words(page)
    assert "Settings tried 3" in seen
    assert "Chosen of 3 settings by its criterion on the training bars alone" in seen
    kept = registry_of(world.read_settings())
    run = kept.version("challenger").run
    with kept._tracking() as mlflow:
        grid = json.loads(mlflow.artifacts.load_text(f"runs:/{run}/grid.json"))
    assert [each["n_clusters"] for each in grid] == [3, 5, 9]
    best = min(grid, key=lambda each: each["criterion"])
    assert kept.load("challenger").hyper == {"n_clusters": best["n_clusters"]}


def test_a_number_of_the_wrong_kind_is_told_in_one_line_and_starts_nothing(desk, chromium):
    """What is wrong and what it must be, to the letter; the button cannot be pressed."""
    page = look(chromium, desk, "training")
    page.wait_for_selector("text=Hyper-parameters")
    choose(page, "Detector", "Isolation forest")
    for text in ("many", "0", "-4", "2000000", "**9**", "<b>9</b>"):
        write(page, "n trees (whole number)", text)
        (said,) = page.get_by_test_id("stAlert").all_inner_texts()[-1:]
        assert f"n_trees is a whole number above 0, at most 1,000,000, not '{text}'" in said
        assert page.get_by_role("button", name="Train", exact=True).is_disabled()


def test_one_piece_of_work_at_a_time_and_it_can_be_stopped(world, desk, chromium):
    """While one goes on no other starts, from nowhere; stopped, nothing of it is kept."""
    before = len(registry_of(world.read_settings()).versions())
    page = look(chromium, desk, "training")
    page.wait_for_selector("text=Hyper-parameters")
    press(page, "Train")
    page.wait_for_selector("text=A training is going on")
    page.wait_for_selector("text=A training is going on: one at a time.")
    assert page.get_by_role("button", name="Train", exact=True).is_disabled()
    with pytest.raises(AnotherRunAtWork, match="wait until it has ended"):
        jobs.start(held_by(world), "evaluate", {})
    picture(page, "training_under_way")
    press(page, "Stop it")
    page.wait_for_selector("text=was stopped. Nothing of it was kept")
    assert jobs.at_work(world.read_settings()) == ""
    assert len(registry_of(world.read_settings()).versions()) == before


def test_who_may_look_only_sees_why_and_starts_nothing(world, chromium):
    """The button is off whatever is chosen, the reason is there, and the work itself refuses."""
    with dashboard(world.folder, settings_of(world), "--role", "read") as running:
        page = look(chromium, running, "training")
        page.wait_for_selector("text=Hyper-parameters")
        assert "This needs the write role" in words(page)
        assert page.get_by_role("button", name="Train", exact=True).is_disabled()
        choose(page, "Detector", "Isolation forest")
        assert page.get_by_role("button", name="Train", exact=True).is_disabled()
        assert serious(page) == []
    for act in (lambda held: jobs.start(held, "train", {}), lambda held: jobs.stop(held, "train")):
        with pytest.raises(SettingsError, match="write role"):
            act(held_by(world, "read"))


def test_what_cannot_be_trained_is_told_and_a_fault_names_its_log(
    world, desk, chromium, monkeypatch
):
    """A refusal is the line of the command line; a fault of ours is no traceback on the page."""
    begin(world, monkeypatch, "train", {"detector": "kmeans", "since": "2024-03-01"})
    page = look(chromium, desk, "training")
    ended(page)
    assert "needs at least" in words(page)
    begin(world, monkeypatch, "train", {})
    page = look(chromium, desk, "training")
    ended(page)
    seen = words(page)
    assert "ended by a fault of the program" in seen
    assert "Traceback" not in seen
    assert "KeyError" in jobs.last(world.read_settings(), "train").log.read_text()


def test_parameters_of_the_views_are_trained_too(world, desk, chromium):
    """No model: a file, and the page says what was written."""
    page = look(chromium, desk, "training")
    choose(page, "Detector", "Parameters of the micro and macro views")
    press(page, "Train")
    page.wait_for_selector("text=A training is going on")
    ended(page)
    assert "Parameters were estimated and written" in words(page)
    path = world.folder / "var" / "params.json"
    kept = json.loads(path.read_text())
    assert f"Version {kept['version']}, in {path}." in words(page)
    assert page.get_by_test_id("stDataFrame").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_can_be_used_by_everybody(desk, chromium, scheme):
    """No serious finding of axe, in light and dark; on a phone nothing is cut off."""
    page = look(chromium, desk, "training", scheme=scheme)
    page.wait_for_selector("text=Hyper-parameters")
    assert serious(page) == []
    picture(page, f"training_{scheme}")
    phone = look(chromium, desk, "training", width=390, height=844, scheme=scheme)
    phone.wait_for_selector("text=Hyper-parameters")
    assert not is_scrolled_sideways(phone)
    picture(phone, f"training_phone_{scheme}")
    assert serious(phone) == []


@given(
    values=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    others=st.lists(st.sampled_from(["0.001", "0.01", "0.1"]), min_size=1, max_size=3),
)
def test_a_search_tries_each_combination_once(values, others):
    """All pairs of what was written, each once; too few or too many are refused."""
    asked = {"n_components": [str(each) for each in values], "least_variance": others}
    pairs = set(itertools.product(values, map(float, others)))
    gmm = trainable("gmm")
    if not 2 <= len(pairs) <= MOST_TRIED:
        with pytest.raises(SettingsError, match=f"tries 2 to {MOST_TRIED} settings"):
            searched(gmm, "gmm", asked)
        return
    found = searched(gmm, "gmm", asked)
    own = [(each.n_components, each.least_variance) for each in found.grid()]
    assert sorted(own) == sorted(pairs)


def test_a_search_holds_out_for_the_longest_window_that_it_tries():
    """No window of a held-out bar may reach a bar of the training, whichever is chosen."""
    found = searched(trainable("lstm_autoencoder"), "lstm_autoencoder", {"window": ["4", "32"]})
    assert found.window == 32
    assert found.min_bars == max(each.min_bars for each in found.candidates)
    with pytest.raises(SettingsError, match="has no 'trees'"):
        searched(KMeansDistance(), "kmeans", {"trees": ["1", "2"]})


@pytest.mark.parametrize(
    ("absent", "url", "detector", "said"),
    [
        ({"mlflow"}, "", "gmm", "MLflow, which is not installed here. Run `make models`"),
        ({"alembic"}, "", "gmm", "MLflow, which is not installed here. Run `make models`"),
        ({"alembic"}, "http://127.0.0.1:9", "gmm", ""),
        (
            {"keras"},
            "",
            "lstm_autoencoder",
            "Keras, which is not installed here. Run `make models`",
        ),
        ({"keras"}, "", "gmm", ""),
    ],
)
def test_what_is_not_installed_is_named_with_what_brings_it(
    monkeypatch, absent, url, detector, said
):
    """The small MLflow serves a server alone; Keras is asked for by one detector."""
    monkeypatch.setattr(
        working.importlib.util, "find_spec", lambda name: None if name in absent else object()
    )
    found = working.lacking(Settings(_env_file=None, mlflow_url=url), detector)
    assert (said in found) if said else found == ""


@pytest.mark.parametrize(
    ("url", "link"),
    [
        ("", ""),
        ("http://models.example:5000/", "http://models.example:5000/#/runs/abc"),
        ("https://user:secret@models.example", ""),
        ("file:///somewhere", ""),
    ],
)
def test_a_run_has_a_link_where_a_browser_can_follow_it(url, link):
    """Of a server by HTTP alone, and never with a password in it."""
    kept = SimpleNamespace(
        url=url, name="tremor-1d", folder="var/mlflow", version=lambda _: SimpleNamespace(run="abc")
    )
    found = place_of(kept, "1")
    assert (found["link"], found["run"]) == (link, "abc")
    assert "secret" not in json.dumps(found)


def test_the_picture_of_a_contest_shows_each_share_with_its_interval():
    """Bounds are bounds, not lengths; kinds are words."""
    share = {"mean": 0.5, "low": 0.2, "high": 0.6}
    figure = recall_of_methods({"challenger": {"": share, "bad_tick": share}})
    (trace,) = figure.data
    assert list(trace.y) == ["all kinds", "bad tick"]
    assert list(trace.error_x.arrayminus) == pytest.approx([0.3, 0.3])
    assert list(trace.error_x.array) == pytest.approx([0.1, 0.1])
    assert "share" in figure.layout.xaxis.title.text
