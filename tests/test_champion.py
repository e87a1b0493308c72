"""From training to the alert: a model earns its place, judges, explains itself, and is watched."""

import html
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.model_files import DESCRIPTION, to_files
from components.registry import Training
from components.tables import CONTRIBUTIONS, DRIFT, SCORES, VERDICTS
from components.training import trainable
from components.wiring import registry_of
from tests.terminal import Seen, hurry, run_sql, tremor
from tests.trained_worlds import LAST, MORNING, fill
from tests.worlds import World

DAY = pd.Timedelta(days=1)
FIRST = "C00-USD"


@pytest.fixture(scope="module", autouse=True)
def quick_server(postgres_server):
    """The server need not wait for its disk."""
    hurry(postgres_server)


@pytest.fixture(scope="module")
def make_long_world(tmp_path_factory, postgres_server):
    """Make a world that lives as long as this module's tests."""

    def make(name, **filled):
        run_sql(postgres_server, f"create database {name}")
        folder = tmp_path_factory.mktemp(name)
        world = World(folder, postgres_server.replace("/postgres?", f"/{name}?"))
        fill(world, **filled)
        return world

    return make


@dataclass(frozen=True)
class Journey:
    """What a person saw on the way from the first run to the alert of a champion."""

    world: World
    before: Seen
    trained: Seen
    listed: Seen
    promoted: Seen
    run: Seen
    again: Seen


@pytest.fixture(scope="module")
def journey(make_long_world):
    """Run, train, promote, and run on the morning after a crash, twice."""
    world = make_long_world("journey", n_days_more=3)
    return Journey(
        world,
        before=tremor(world, "run", "--as-of", f"{LAST:%Y-%m-%d}T12:00"),
        trained=tremor(world, "train", "gmm", "--json"),
        listed=tremor(world, "models", "list", "--json"),
        promoted=tremor(world, "models", "promote"),
        run=tremor(world, "run", "--as-of", MORNING),
        again=tremor(world, "run", "--as-of", MORNING),
    )


def test_a_training_says_what_it_came_to(journey):
    """Version, split, figures at the stated rate, and each condition of promotion."""
    assert (journey.before.code, journey.trained.code) == (0, 0)
    said = json.loads(journey.trained.out)
    assert (said["version"], said["detector"]) == ("1", "gmm")
    cut = {name: pd.Timestamp(said["split"][name]) for name in ("first", "until", "since", "last")}
    assert cut["since"] - cut["until"] == 48 * DAY
    assert said["split"]["n_embargo"] == "47"
    assert cut["last"] == LAST - DAY
    figures = said["figures"]
    assert 0.5 * 4 < figures["alerts_per_year_realised"] < 1.5 * 4
    for name in ("recall_planted", "stability", "distinct", "recall_of_untrained_twin"):
        assert 0 <= figures[name] <= 1, name
    assert {name for name in figures if name.startswith("recall_volume")} == {"recall_volume_burst"}
    assert figures["peak_memory_bytes"] > 1e8
    assert figures["seconds"] > figures["fit_seconds"] > 0
    assert all(each["is_met"] for each in said["conditions"])
    assert len(said["conditions"]) == 4


def test_the_run_in_mlflow_holds_what_it_was_made_of(journey):
    """Data by hash and span, versions of features and code, tables and pictures."""
    kept = registry_of(journey.world.read_settings())
    version = kept.version("1")
    with kept._tracking() as mlflow:
        run = mlflow.get_run(version.run)
        client = mlflow.MlflowClient()
        names = {item.path for item in client.list_artifacts(version.run)}
        pictures = {item.path for item in client.list_artifacts(version.run, "pictures")}
        grid = json.loads(mlflow.artifacts.load_text(f"runs:/{version.run}/grid.json"))
    params = run.data.params
    assert re.fullmatch(r"[0-9a-f]{64}", params["data_sha256"])
    assert re.fullmatch(r"[0-9a-f]{16}", params["code_version"])
    for name in ("features_version", "first", "until", "held_out_since", "last", "seed", "n_bars"):
        assert params[name], name
    assert {"grid.json", "leads.json", "by_kind.json", "promotion.json"} <= names
    assert pictures == {
        f"pictures/{name}.png" for name in ("map", "recall", "scores", "stated_and_realised")
    }
    assert len(grid) == 16
    chosen = min(grid, key=lambda each: each["criterion"])
    assert params["hyper.n_components"] == str(chosen["n_components"])


def test_the_challenger_becomes_champion_by_what_it_earned(journey):
    """The list shows it before; promotion prints each condition, and who judges next."""
    (row,) = json.loads(journey.listed.out)["models"]
    assert (row["version"], row["alias"], row["detector"]) == ("1", "challenger", "gmm")
    assert journey.promoted.code == 0
    lines = journey.promoted.out.strip().splitlines()
    assert [line.strip()[:3] for line in lines[:-1]] == ["yes"] * 4
    assert lines[-1] == "version 1 is the champion of tremor-1d: the next run judges with it"


def test_the_next_run_judges_with_the_champion(journey):
    """As one more view, on the bars behind its training alone."""
    world = journey.world
    assert journey.run.code == 0
    judges = world.query("select judge, count(*) as n from verdicts group by judge")
    counts = dict(zip(judges["judge"], judges["n"], strict=True))
    assert counts["market+pump+knn+kmeans+gmm+gmm@1"] == counts["market+pump+knn+kmeans+gmm"] + 10
    scores = world.query("select min(ts) as first from scores where detector = 'gmm@1'")
    until = registry_of(world.read_settings()).load("champion").until
    assert scores["first"].iloc[0] == until + DAY


def test_the_alert_says_what_each_feature_added(journey):
    """In the mail, in the console and in the report, in the feature's own unit."""
    reason = re.search(r"GMM \(version 1\), improbability .*", journey.run.out).group()
    assert re.search(r"return \(z -\d\d\.\d\) adds \+", reason)
    (message,) = journey.world.messages()
    plain = " ".join(message.get_body(("plain",)).get_content().split())
    shown = " ".join(html.unescape(message.get_body(("html",)).get_content()).split())
    for text in (plain, shown):
        assert "GMM (version 1), improbability (minus ln likelihood)" in text
    path = re.search(r"report: (\S+)", journey.run.out).group(1)
    page = Path(path).read_text()
    assert "What made the score of GMM (version 1)" in page
    assert "GMM (version 1) judges beside the other views." in page
    assert "Stability index" in page


def test_contributions_are_stored_and_sum_to_the_score(journey):
    """Of the anomalies alone; what belongs to no feature is a row of its own."""
    rows = journey.world.rows(CONTRIBUTIONS)
    bar = rows[(rows["symbol"] == FIRST) & (rows["ts"] == LAST)]
    assert len(bar) == 7
    assert bar["part"].sum() == pytest.approx(bar["total"].iloc[0])
    scores = journey.world.rows(SCORES)
    own = scores[
        (scores["symbol"] == FIRST) & (scores["ts"] == LAST) & (scores["detector"] == "gmm@1")
    ]
    assert bar["total"].iloc[0] == pytest.approx(own["score"].iloc[0])
    verdicts = journey.world.rows(VERDICTS)
    unusual = verdicts[
        (verdicts["verdict"] == "anomaly") & verdicts["judge"].str.endswith("gmm@1")
    ][["symbol", "ts"]].merge(scores[scores["detector"] == "gmm@1"][["symbol", "ts"]])
    told = rows[["symbol", "ts"]].drop_duplicates()
    assert len(told) == len(unusual) == len(told.merge(unusual))


def test_a_repeated_run_tells_and_stores_nothing_new(journey):
    """Also with a model: keyed writes, told once."""
    assert journey.again.code == 0
    assert "alerts 1" in journey.again.out
    assert len(journey.world.messages()) == 1
    assert len(journey.world.rows(DRIFT)) == 7


def test_drift_is_stored_and_is_none_where_nothing_moved(journey):
    """Each feature and the score, with the bars behind it."""
    rows = journey.world.rows(DRIFT).set_index("name")
    assert set(rows.index) == {
        *(f"{name}_vector" for name in ("body", "gap", "range", "residual", "return", "volume")),
        "score",
    }
    assert (rows["stability"] < 0.1).all()
    assert (rows["n_bars"] > 200).all()


def test_the_manifest_names_the_model(journey):
    """What replays the run: the version by number, whoever is champion then."""
    path = next((journey.world.folder / "var/lake/runs").glob("run-20240313*/manifest.json"))
    judge = json.loads(path.read_text())["judge"]
    assert judge["trained"] == "gmm@1"
    assert re.fullmatch(r"[0-9a-f]{16}", judge["fingerprint"])


def test_a_champion_has_no_part_in_what_it_is_held_against(journey):
    """The rates of the base rule and of |z| are theirs, whoever judges."""
    asked = ("evaluate", "--subset", "3", "--json")
    rates = []
    for model in ("champion", "none"):
        said = json.loads(tremor(journey.world, *asked, model=model).out)
        rates.append(
            {
                name: said["baselines"][name]["realised"]
                for name in ("amplitude_zscore", "volatility_zscore")
            }
        )
    assert rates[0] == rates[1]


def test_models_stand_side_by_side(journey):
    """All those with an alias, or those that are named; figures in words."""
    seen = tremor(journey.world, "models", "compare", "--json")
    rows = json.loads(seen.out)["figures"]
    assert set(rows[0]) == {"figure", "gmm@1 champion"}
    by_name = {row["figure"]: row["gmm@1 champion"] for row in rows}
    assert by_name["alerts stated per instrument and year"] == 4
    missing = tremor(journey.world, "models", "compare", "champion", "9")
    assert "tremor-1d has no 9" in missing.error


def test_a_champion_is_not_promoted_again(journey):
    """Said, and nothing is judged for minutes first."""
    seen = tremor(journey.world, "models", "promote", "1")
    assert "version 1 is the champion already" in seen.error
    assert "no champion before this one" in tremor(journey.world, "models", "rollback").error


def test_who_learned_nothing_is_not_promoted(journey):
    """An untrained twin in the registry, under the challenger's name, is found out."""
    world = journey.world
    settings = world.read_settings()
    kept = registry_of(settings)
    champion = kept.load("champion")
    same = replace(trainable("gmm"), **champion.hyper)
    blank = same.untrained(np.zeros((1, 1, 6)))
    example = pd.DataFrame([[0.0] * 6], columns=list(champion.features))
    twin = replace(champion, models={"": blank}, version="")
    number = kept.record(Training(trained=twin, params={}, figures={}, example=example, tags={}))
    seen = tremor(world, "models", "promote")
    assert f"version {number} is not promoted" in seen.error
    assert re.search(r"NO +beats the untrained twin: .* \+0.0% \[\+0.0%, \+0.0%\]", seen.out)
    assert re.search(r"NO +beats the champion", seen.out)
    assert kept.load("champion").name == "gmm@1"


def test_a_model_that_cannot_be_used_is_told_and_the_run_goes_on(journey):
    """Refused with one line; the untrained default judges; told once a month, in each report."""
    world = journey.world
    artifacts = world.folder / "var/mlflow/artifacts"
    path = next(
        path
        for path in artifacts.rglob(DESCRIPTION)
        if path.read_bytes() == to_files(registry_of(world.read_settings()).load("1"))[DESCRIPTION]
    )
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"gmm"', b'"gem"'))
    try:
        seen = tremor(world, "run", "--as-of", f"{LAST + 2 * DAY:%Y-%m-%d}T12:00")
        told = tremor(world, "run", "--as-of", f"{LAST + 2 * DAY:%Y-%m-%d}T13:00")
        quiet = tremor(world, "run", "--as-of", f"{LAST + 2 * DAY:%Y-%m-%d}T14:00", model="none")
    finally:
        path.write_bytes(whole)
    assert (seen.code, told.code, quiet.code) == (3, 3, 0)
    sentence = "no trained model judges: the champion of tremor-1d: its files are not those that"
    models = world.alerts("model")
    assert len(models) == 1
    assert sentence in models["payload"].iloc[0]["notes"][0]
    (message,) = [m for m in world.messages() if "needs attention" in m["Subject"]]
    assert sentence in " ".join(message.get_body(("plain",)).get_content().split())
    for one in (seen, told):
        page = Path(re.search(r"report: (\S+)", one.out).group(1)).read_text()
        assert "Degraded." in page
    last = world.query("select distinct judge from verdicts where ts = '2024-03-13'")
    assert list(last["judge"]) == ["market+pump+knn+kmeans+gmm"]


def test_the_doctor_looks_at_the_model(journey):
    """Which one judges, or what is in its way and where to look."""

    def model(**settings):
        seen = tremor(journey.world, "doctor", "--json", **settings)
        (found,) = [each for each in json.loads(seen.out) if each["part"] == "model"]
        return found["state"], found["said"]

    assert model() == ("ok", "gmm@1 judges too, trained to 2022-09-19 00:00 UTC")
    state, said = model(model="77")
    assert (state, "the 77 of tremor-1d is not there" in said) == ("warn", True)
    assert model(model="none")[0] == "ok"


def test_an_asked_for_version_that_is_not_there_is_degraded(journey):
    """Named by the setting, it is missed; the champion that never was is not."""
    seen = tremor(journey.world, "run", "--as-of", f"{LAST + 3 * DAY:%Y-%m-%d}T12:00", model="77")
    assert seen.code == 3
    assert "the 77 of tremor-1d is not there" in seen.err


def test_a_lost_registry_is_missed(journey):
    """A champion judged, and the folder is gone: told, like a model that cannot be read."""
    world = journey.world
    folder = world.folder / "var/mlflow"
    folder.rename(folder.with_name("elsewhere"))
    try:
        seen = tremor(world, "run", "--as-of", f"{LAST + 4 * DAY:%Y-%m-%d}T12:00")
        doctor = tremor(world, "doctor", "--json")
        named = tremor(world, "run", "--as-of", f"{LAST + 4 * DAY:%Y-%m-%d}T13:00", model="1")
        quiet = tremor(world, "run", "--as-of", f"{LAST + 4 * DAY:%Y-%m-%d}T14:00", model="none")
    finally:
        folder.with_name("elsewhere").rename(folder)
    assert (seen.code, named.code, quiet.code) == (3, 3, 0)
    assert re.search(r"gmm@1, which judged until 20\d\d-\d\d-\d\d, is not in", seen.err)
    assert "the 1 of tremor-1d is not there" in named.err
    said = [each for each in json.loads(doctor.out) if each["part"] == "model"]
    assert said[0]["state"] == "warn"
    assert "gmm@1, which judged until" in said[0]["said"]


def test_the_champion_over_again_is_not_promoted(journey):
    """The same numbers from the same bars have beaten nobody."""
    kept = registry_of(journey.world.read_settings())
    champion = kept.load("champion")
    example = pd.DataFrame([[0.0] * 6], columns=list(champion.features))
    again = Training(trained=champion, params={}, figures={}, example=example, tags={})
    number = kept.record(again)
    seen = tremor(journey.world, "models", "promote")
    assert seen.code == 2
    assert f"version {number} is not promoted: is another than the champion?" in seen.error
    assert kept.load("champion").name == "gmm@1"


def test_what_stands_in_the_place_of_a_registry_is_told_in_one_line(world):
    """A file where the folder should be."""
    world.put_market()
    assert tremor(world, "run", "--as-of", "2024-03-13T12:00").code == 0
    (world.folder / "var/mlflow").write_text("not a folder")
    seen = tremor(world, "train", "kmeans")
    assert seen.code == 2
    assert "tremor-1d: the registry at" in seen.error
    seen = tremor(world, "train", "kmeans", "--features", "volatility,volatility")
    assert seen.error == "error: --features: volatility is named twice"


def test_a_world_without_models_is_not_degraded(world):
    """Nobody trained anything: nothing lacks."""
    world.put_market()
    seen = tremor(world, "run", "--as-of", "2024-03-13T12:00")
    assert seen.code == 0
    assert "trained" not in seen.err + seen.out


def test_a_server_that_is_away_degrades_the_run(world):
    """The run goes on with what judges untrained, and says which setting to look at."""
    world.put_market()
    seen = tremor(world, "run", "--as-of", "2024-03-13T12:00", mlflow_url="http://127.0.0.1:9/none")
    assert seen.code == 3
    assert "TREMOR_MLFLOW_URL failed" in world.alerts("model")["payload"].iloc[0]["notes"][0]


@pytest.fixture(scope="module")
def moved(make_long_world):
    """A world whose last weeks are five times as wild as all that a champion was trained on."""
    world = make_long_world("moved", n_days_more=70, n_wild=70, n_instruments=6)
    assert tremor(world, "run", "--as-of", f"{LAST:%Y-%m-%d}T12:00").code == 0
    before = world.everything()
    names = "volatility,return,volume_ratio"
    seen = tremor(world, "train", "kmeans", "--features", names, "--fixed", "--rounds", "4")
    assert seen.code == 0, seen
    # It reads; what it makes is in the registry.
    assert world.everything() == before
    kept = registry_of(world.read_settings())
    kept.promote(kept.version("challenger"))
    return world


def test_bars_unlike_those_of_the_training_are_told_once_a_month(moved):
    """As trouble of the model, with the features that moved and the command that trains anew."""
    for day in ("2024-05-10", "2024-05-11", "2024-06-02"):
        seen = tremor(moved, "run", "--as-of", f"{day}T12:00")
        assert "unfit" not in seen.err
    told = moved.alerts("model")
    assert list(told["known_at"].dt.strftime("%Y-%m-%d")) == ["2024-05-10", "2024-06-02"]
    (note,) = told["payload"].iloc[0]["notes"]
    assert re.search(r"kmeans@1 sees other bars than it was trained on", note)
    assert "range " in note  # the feature volatility, in words
    # Bars that begin before the last training ended, and are cut later than it was.
    since = pd.Timestamp(re.search(r"python main.py train kmeans --since (\S+)", note).group(1))
    until, now = pd.Timestamp("2022-09-19"), pd.Timestamp("2024-05-10")
    assert since < until < since + 0.7 * (now - since)
    rows = moved.rows(DRIFT)
    first = rows[rows["known_at"] == rows["known_at"].min()].set_index("name")["stability"]
    assert first["volatility"] > 0.25 > first["volume_ratio"]
    subjects = [message["Subject"] for message in moved.messages()]
    assert sum("trained model needs attention" in subject for subject in subjects) >= 1
