"""The stored features through Feast: joins in time, training sets, the newest online, scores."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import count

import numpy as np
import pandas as pd
import pytest
import requests
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from components import feature_files
from components.detectors.lstm_autoencoder import Autoencoder
from components.entrypoints.scoring import in_words, scored
from components.errors import FeatureStoreError, ModelError
from components.feature_server import FeatureServer
from components.feature_views import INSTANTS, fields, valid_for, view_name
from components.features import FEATURES, VERSION
from components.lake import Lake
from components.model_files import hyper_of
from components.objects import Folder
from components.registry import Training
from components.scoring import score
from components.sessions import length
from components.steps.bars import judged_bars
from components.steps.stored_features import newest_features
from components.tables import CANDLES, FEATURE_VALUES, known
from components.trained import POOLED
from components.training import Recipe, feature_panel, fit, scaler_of, trainable
from components.wiring import open_parts, open_warehouse, registry_of
from tests.feast_server import Town, redis_server, stand_in
from tests.markets_made import unseen
from tests.proxies import free_port
from tests.terminal import ROOT, hurry, run_sql, tremor
from tests.test_stored_features import NAMES, compute, run, stored
from tests.worlds import DAY, LAST, MORNING, World

LATER = MORNING + 30 * DAY
BESIDE = (-pd.Timedelta(microseconds=1), pd.Timedelta(microseconds=1))

# The features of one interval and version, by their bars.
OF_BARS = replace(FEATURE_VALUES, key=("symbol", "ts", "known_at"))

TYPES = {n: "datetime64[us, UTC]" if n in INSTANTS else "float64" for n in fields()}

# A password with all that an address or a list of options could trip over.
PASSWORD = "s3cret,a=b/@:%1e5"
IN_ADDRESS = "s3cret%2Ca%3Db%2F%40%3A%251e5"

_numbers = count()


@pytest.fixture(scope="module", autouse=True)
def quick_server(postgres_server):
    """The server need not wait for its disk."""
    hurry(postgres_server)


@pytest.fixture(scope="module")
def feast(tmp_path_factory):
    """Feast's environment, for all tests of this file."""
    path = tmp_path_factory.mktemp("feast") / "log"
    with path.open("w") as log:
        town = Town(log)
        yield town
        town.close()


@pytest.fixture(scope="module")
def make_lasting_world(tmp_path_factory, postgres_server):
    """Make a world that lives as long as this module's tests, in another time zone than UTC."""

    def make():
        name = f"feast_{os.getpid()}_{next(_numbers)}"
        run_sql(postgres_server, f"create database {name}")
        run_sql(postgres_server, f"alter database {name} set timezone to 'Asia/Tokyo'")
        folder = tmp_path_factory.mktemp(name)
        return World(folder, postgres_server.replace("/postgres?", f"/{name}?"))

    return make


def panel_of(world, names):
    """The features of the bars that are judged, computed from the candles."""
    with open_parts(world.read_settings(), LATER, command="train", reads_only=True) as parts:
        bars = judged_bars(parts, parts.warehouse.read(CANDLES), LATER)
        return feature_panel(bars, parts.calendars, names, unseen)


def fitted(world, detector="kmeans"):
    """A model of the world's bars up to the autumn, of the features that the detector asks for."""
    made = trainable(detector)
    recipe = Recipe(made, detector, "1d", made.features)
    seen = panel_of(world, made.features).until(pd.Timestamp("2023-11-01", tz="UTC"))
    return fit(recipe, made, seen, scaler_of(seen), unseen)


def with_a_context(trained, window=16, units=3):
    """The same with a network of random weights, which looks back on 15 bars."""
    d, wide = len(trained.features), 4 * units
    shapes = {"encoder_kernel": (d, wide), "decoder_kernel": (units, wide)}
    shapes |= {f"{side}_recurrent": (units, wide) for side in ("encoder", "decoder")}
    shapes |= {"encoder_bias": (wide,), "decoder_bias": (wide,)}
    shapes |= {"out_kernel": (units, d), "out_bias": (d,)}
    random = np.random.default_rng(0)
    weights = {name: random.normal(0, 0.3, shape) for name, shape in shapes.items()}
    return replace(
        trained,
        detector="lstm_autoencoder",
        hyper=hyper_of(trainable("lstm_autoencoder")),
        models={POOLED: Autoencoder(window, weights)},
    )


def register(world, trained):
    """Keep a model in the world's registry; its number."""
    example = pd.DataFrame(np.zeros((2, len(trained.features))), columns=list(trained.features))
    training = Training(trained, {}, {}, example=example, tags={"held_out_since": "2023-12-01"})
    return registry_of(world.read_settings()).record(training)


@pytest.fixture(scope="module")
def town(make_lasting_world):
    """Six instruments, judged by a champion on two mornings; features of the second are stored."""
    world = make_lasting_world()
    assert run(world, 1).exit_code == 0
    kept = registry_of(world.read_settings())
    kept.promote(kept.version(register(world, fitted(world))))
    assert run(world).exit_code == 0
    compute(world)
    return world


def online(feast, world, symbols=(*NAMES, "ZZZ"), **settings):
    """What the online store holds, by the instrument."""
    path = world.folder / "online.parquet"
    seen = feast.call(world, "held_online", symbols, str(path), **settings)
    assert seen.code == 0, seen.err
    return pd.read_parquet(path).set_index("symbol")


def newest(world):
    """Each instrument's newest row, by the as-of rule."""
    return stored(world).groupby("symbol").last()


def same_online(held, rows):
    """The same numbers and instants, to the bit and the second; unknown where nothing is."""
    rows = rows[list(fields())].assign(**{n: rows[n].dt.floor("s") for n in INSTANTS})
    held = held.loc[list(rows.index), list(fields())]
    held = held.assign(**{n: pd.to_datetime(held[n], utc=True) for n in INSTANTS})
    pd.testing.assert_frame_equal(held.astype(TYPES), rows.astype(TYPES), check_exact=True)


# What follows one bar upon the other: how many bars later, and how late each version was known.
BARS = st.lists(
    st.tuples(
        st.sampled_from([1, 1, 1, 2, 3, 20]),
        st.lists(st.integers(0, 40), min_size=1, max_size=3, unique=True),
    ),
    min_size=1,
    max_size=6,
)


def rows_of(interval, histories):
    """Versions of features of bars that follow one another, corrected and told late."""
    step, rows = length(interval), []
    for i, bars in enumerate(histories):
        ts = pd.Timestamp("2024-01-01", tz="UTC")
        for ahead, delays in bars:
            ts += ahead * step
            rows += [(f"S{i}", ts, ts + 0.8 * step, ts + 0.8 * step + d * step) for d in delays]
    made = pd.DataFrame(rows, columns=["symbol", "ts", "closes_at", "known_at"])
    numbers = np.random.default_rng(len(made)).normal(size=(len(made), 2))
    values = {"body": numbers[:, 0], "volume_ratio": numbers[:, 1]}
    return made.assign(interval=interval, version=VERSION, **values)


def asked_of(rows, interval):
    """Instants at, before and after all that happens, of instruments known and unknown."""
    ends = rows["closes_at"] + valid_for(interval)
    instants = pd.concat([rows["closes_at"], rows["known_at"], ends])
    made = pd.DataFrame({"symbol": pd.concat([rows["symbol"]] * 3), "event_timestamp": instants})
    nobody = made.iloc[:3].assign(symbol="NOBODY")
    around = [made, nobody, *(made.assign(event_timestamp=instants + d) for d in BESIDE)]
    made = pd.concat(around).drop_duplicates().sample(frac=1.0, random_state=0, ignore_index=True)
    return made.astype({"event_timestamp": "datetime64[us, UTC]"})


def by_the_rule(rows, asked, interval, as_of=None):
    """The newest bar that had closed, in the version known then, or at ``as_of``."""
    found = []
    for symbol, instant in zip(asked["symbol"], asked["event_timestamp"], strict=True):
        own = known(rows[rows["symbol"] == symbol], as_of or instant, FEATURE_VALUES)
        is_valid = own["closes_at"] >= instant - valid_for(interval)
        own = own[is_valid & (own["closes_at"] <= instant)]
        found.append(own.iloc[-1].to_dict() if len(own) else {})
    rule = pd.DataFrame(found, index=asked.index).reindex(columns=list(fields()))
    return rule.astype(TYPES)


@pytest.fixture(scope="module")
def bare(make_lasting_world):
    """A world without a market, whose features the test makes up."""
    world = make_lasting_world()
    with open_warehouse(world.read_settings()):
        return world


# Each example asks another process; smaller ones would not be worth the minutes.
@settings(max_examples=3, phases=[Phase.generate])
@given(interval=st.sampled_from(["1d", "1m"]), histories=st.lists(BARS, min_size=2, max_size=4))
def test_a_join_is_the_as_of_rule_row_by_row(feast, bare, interval, histories):
    """Corrections and late arrivals included, from the lake and from the warehouse.

    As known: what had closed and was known at that instant, in the version known then. With
    hindsight: what had closed at that instant, in the version known today. At the microsecond at
    which something closes, becomes known or is valid no longer, and beside it.
    """
    rows = rows_of(interval, histories)
    shutil.rmtree(bare.folder / "var/lake/features", ignore_errors=True)
    feature_files.put(Folder(bare.folder / "var/lake"), rows)
    with open_warehouse(bare.read_settings()) as warehouse:
        warehouse.execute("truncate features")
        warehouse.upsert(FEATURE_VALUES, rows)
        rows = warehouse.query("select * from features")
    asked = asked_of(rows, interval)
    asked.to_parquet(bare.folder / "asked.parquet")
    given_ = (str(bare.folder / "asked.parquet"), str(bare.folder))
    seen = feast.call(bare, "join_both", *given_, interval=interval)
    assert seen.code == 0, seen.err
    expected = {
        "known": by_the_rule(rows, asked, interval),
        "hindsight": by_the_rule(rows, asked, interval, LATER),
    }
    assert expected["known"]["ts"].notna().any()
    for mode, rule in expected.items():
        for kind in ("lake", "warehouse"):
            found = pd.read_parquet(bare.folder / f"{kind}-{mode}.parquet")
            pd.testing.assert_frame_equal(
                found, pd.concat([asked, rule], axis=1), check_exact=True, obj=f"{kind} {mode}"
            )


def test_a_training_set_is_what_training_reads(feast, town):
    """Every feature of every bar, float for float, from both stores; and not before it is known."""
    panel = panel_of(town, tuple(FEATURES))
    at = ~np.isnat(panel.ts)
    symbols = np.repeat(panel.symbols, at.sum(axis=1))
    ts = pd.DatetimeIndex(panel.ts[at], tz="UTC")
    for kind in ("lake", "warehouse"):
        arguments = ("training-set", "set.parquet", "--since", "2020-01-01", "--offline", kind)
        seen = feast.command(town, *arguments)
        assert seen.code == 0, seen.err
        assert f"set.parquet: {len(ts):,} rows, {len(ts):,} with features" in seen.out
        made = pd.read_parquet(town.folder / "set.parquet")
        assert made["symbol"].tolist() == symbols.tolist()
        assert (made["ts"].to_numpy() == ts.to_numpy()).all()
        assert (made["event_timestamp"] == made["closes_at"]).all()
        np.testing.assert_array_equal(made[list(FEATURES)].to_numpy(), panel.x[at])
        arguments = (*arguments, "--as-known", "--symbols", "AAA,DDD-USD")
        # All history became known at noon of the day before the last: of it nothing is seen.
        assert ", 2 with features" in feast.command(town, *arguments).out
        made = pd.read_parquet(town.folder / "set.parquet").dropna(subset="ts")
        assert set(made["ts"]) == {LAST - DAY}
        assert (made["known_at"] < made["event_timestamp"]).all()
        seen = feast.command(town, *arguments, "--delay-hours", "16")
        assert ", 4 with features" in seen.out


def test_what_is_stored_comes_online_once(feast, town):
    """Each instrument's newest row, to the bit; repeated, nothing is written."""
    shutil.rmtree(town.folder / "var/feast", ignore_errors=True)
    first = feast.command(town, "materialise")
    assert "6 of 6 instruments brought to SQLite" in first.out
    assert "the newest bar closed 2024-03-13 00:00 UTC" in first.out
    held = online(feast, town)
    same_online(held, newest(town))
    assert held.loc["ZZZ", list(fields())].isna().all()
    path = town.folder / "var/feast/online.db"
    before = path.read_bytes()
    again = feast.command(town, "materialise", "--offline", "warehouse")
    assert "0 of 6 instruments brought" in again.out
    assert path.read_bytes() == before


@pytest.fixture(params=["sqlite", "redis"])
def held_in(request):
    """Settings of each online store, empty."""
    if request.param == "sqlite":
        yield {}
        return
    with redis_server(PASSWORD) as port:
        yield {"redis_url": f"redis://:{IN_ADDRESS}@127.0.0.1:{port}/1"}


def test_a_correction_and_what_is_stored_late_come_online(feast, bare, held_in):
    """The newest bar in its newest version; and an instrument that was known long before."""
    shutil.rmtree(bare.folder / "var/feast", ignore_errors=True)
    root = bare.folder / "var/lake"
    shutil.rmtree(root / "features", ignore_errors=True)
    rows = rows_of("1d", [[(1, [1]), (1, [1])], [(1, [1, 9]), (3, [1, 5])], [(1, [0])]])
    # What comes later: a correction of S0's newest bar, one of S1's first, and S2 altogether.
    is_later = (rows["symbol"] == "S2") | (rows["known_at"] - rows["closes_at"] > 4 * DAY)
    correction = rows.iloc[[1]].assign(known_at=rows["known_at"].iloc[1] + DAY, body=0.25)
    for some, n_brought in ((rows[~is_later], "2 of 2"), (rows[is_later], "2 of 3")):
        feature_files.put(Folder(root), some)
        assert (
            f"{n_brought} instruments brought" in feast.command(bare, "materialise", **held_in).out
        )
    feature_files.put(Folder(root), correction)
    assert "1 of 3 instruments brought" in feast.command(bare, "materialise", **held_in).out
    held = online(feast, bare, ["S0", "S1", "S2"], **held_in)
    assert held.loc["S0", "body"] == 0.25
    everything = pd.concat([rows, correction]).reindex(columns=["symbol", *fields()])
    same_online(held, known(everything, LATER, OF_BARS).groupby("symbol").last())


def test_killed_in_the_middle_it_is_finished_by_the_next(feast, town):
    """Whatever was written; and an online store that was lost is filled again."""
    shutil.rmtree(town.folder / "var/feast", ignore_errors=True)
    assert feast.call(town, "die_materialising", 2).code == -9
    assert online(feast, town)["ts"].notna().sum() == 2
    assert "4 of 6 instruments brought" in feast.command(town, "materialise").out
    same_online(online(feast, town), newest(town))
    (town.folder / "var/feast/online.db").unlink()
    assert "6 of 6 instruments brought" in feast.command(town, "materialise").out
    assert "6 of 6 instruments brought" in feast.command(town, "materialise", "--all").out


def test_a_lake_on_s3_gives_the_same_set_and_each_file_is_fetched_once(feast, town, s3_url):
    """Its copy follows it: what is new comes, what was replaced goes, the rest is left alone."""
    compute(town, lake_url=s3_url)
    arguments = ("training-set", "s3.parquet", "--since", "2020-01-01")
    assert feast.command(town, *arguments, lake_url=s3_url).code == 0
    assert feast.command(town, "training-set", "here.parquet", *arguments[2:]).code == 0
    made = [pd.read_parquet(town.folder / f"{name}.parquet") for name in ("s3", "here")]
    pd.testing.assert_frame_equal(*made, check_exact=True)
    copy = town.folder / "var/feast/lake"
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*.parquet")}
    objects = Lake(s3_url).objects
    (oldest, *_) = objects.list("features/")
    body = objects.get(oldest)
    objects.delete(oldest)
    objects.put(oldest.replace("every.", "every.0"), body)
    assert feast.command(town, *arguments, lake_url=s3_url).code == 0
    after = {path: path.stat().st_mtime_ns for path in copy.rglob("*.parquet")}
    assert {path.name for path in before.keys() ^ after.keys()} == {
        oldest.rpartition("/")[2],
        oldest.rpartition("/")[2].replace("every.", "every.0"),
    }
    assert all(before[path] == after[path] for path in before.keys() & after.keys())


@pytest.fixture
def served(feast, town, held_in):
    """The address of a feature server over each online store."""
    assert feast.command(town, "materialise", **held_in).code == 0
    with feast.serving(town, **held_in) as url:
        yield url


def judged(world, view):
    """The batch's own scores of the newest bars."""
    rows = world.query("select symbol, ts, score from scores where detector = %(view)s", view=view)
    return rows.sort_values("ts").groupby("symbol").last()


def scores(world, which="champion", as_of=MORNING, **settings):
    """What `models score` finds, and by the instrument."""
    found = scored(world.read_settings(**settings), which, as_of, is_now=False)
    return found, {each.symbol: each.score for each in found.scores}


def test_a_score_through_the_server_is_the_batchs_score(served, town):
    """Of every instrument, to 1e-9, with its bar; and the same as from the warehouse."""
    expected = judged(town, "kmeans@1")
    found, through = scores(town, feast_url=served)
    assert found.place == f"feature server {served}"
    assert list(through) == list(expected.index) == list(NAMES)
    np.testing.assert_allclose(list(through.values()), expected["score"], rtol=1e-9)
    assert [each.ts for each in found.scores] == expected["ts"].tolist()
    direct, _ = scores(town)
    assert direct.place.startswith("warehouse ")
    assert direct.scores == found.scores
    files = [path for path in (town.folder / "var/feast").rglob("*") if path.is_file()]
    assert any(path.name == "registry-duckdb.db" for path in files)
    for word in (PASSWORD, IN_ADDRESS):
        assert not any(word.encode() in path.read_bytes() for path in files)


def test_the_command_says_what_each_score_is_made_of(feast, town):
    """The oddest first for a person, all numbers for a program; from the server and not."""
    expected = judged(town, "kmeans@1")["score"].sort_values(ascending=False)
    lines = in_words(scores(town)[0], "1d").splitlines()
    assert re.fullmatch(
        r"kmeans@1, made of: squared distance .*; features of warehouse .*", lines[0]
    )
    assert lines[1].split() == ["symbol", "bar", "known", "score", "made", "of"]
    rows = [line.split(maxsplit=5) for line in lines[2:]]
    assert [row[0] for row in rows] == list(expected.index)
    np.testing.assert_allclose([float(row[4]) for row in rows], expected, rtol=1e-3)
    assert {row[1] for row in rows} == {"2024-03-12"}
    assert {f"{row[2]} {row[3]}" for row in rows} == {"2024-03-13 12:00"}
    assert re.match(r"[a-z ']+ z [+-]\d+\.\d \([+-][\d.]+\), ", rows[0][5])

    feast.command(town, "materialise")
    asked = ("models", "score", "--as-of", "2024-03-14T02:00", "--symbols", "AAA,DDD-USD,ZZZ")
    with feast.serving(town) as url:
        seen = tremor(town, *asked, "--json", feast_url=url, grace_hours=4)
    assert seen.code == 3
    assert seen.said == [
        "failed: AAA: its features are those of 2024-03-12, and the bar of 2024-03-13 has closed",
        "failed: ZZZ: no features of it are stored",
    ]
    said = json.loads(seen.out)
    assert (said["model"], said["features"]) == ("kmeans@1", f"feature server {url}")
    assert [each["symbol"] for each in said["failures"]] == ["AAA", "ZZZ"]
    (only,) = said["scores"]
    assert (only["symbol"], only["closes_at"]) == ("DDD-USD", "2024-03-13T00:00:00+00:00")
    np.testing.assert_allclose(only["score"], expected["DDD-USD"], rtol=1e-9)


def test_the_parts_of_a_score_add_up_and_the_largest_comes_first(town):
    """What each feature added, in its own unit; of a bar that training saw there is nothing."""
    trained = registry_of(town.read_settings()).load("1")
    rows = stored(town)
    for each in score(trained, rows[rows["symbol"].isin(["AAA", "BBB"])]):
        assert (each.why, each.ts) == ("", LAST)
        parts = [part for part in each.parts if part.feature]
        assert {part.feature for part in parts} == set(trained.features)
        assert [part.part for part in parts] == sorted(parts_of(parts), key=abs, reverse=True)
        np.testing.assert_allclose(sum(parts_of(each.parts)), parts[0].total, rtol=1e-9)
        bar = rows[(rows["symbol"] == each.symbol) & (rows["ts"] == LAST)].iloc[0]
        assert all(part.value == bar[part.feature] for part in parts)
        assert all(part.unit == FEATURES[part.feature].unit for part in parts)
    (seen,) = score(trained, rows[(rows["symbol"] == "AAA") & (rows["ts"] <= trained.until)])
    assert (seen.why, seen.parts) == ("its training saw this bar", ())
    assert np.isnan(seen.score)
    unknown = rows[rows["symbol"] == "AAA"].assign(**{trained.features[0]: np.nan})
    assert score(trained, unknown)[0].why == "a feature is unknown in its context"


def parts_of(parts):
    return [part.part for part in parts]


def test_a_model_with_a_context_scores_windows_of_the_warehouse(town):
    """To 1e-9 of its score on the panel; a feature server, which has one bar each, is refused."""
    trained = registry_of(town.read_settings()).load("1")
    version = register(town, with_a_context(trained))
    model = registry_of(town.read_settings()).load(version)
    panel = panel_of(town, model.features)
    expected = model.score_any(panel.x, panel.symbols)[:, -1]
    assert np.isfinite(expected).all()
    _, found = scores(town, version)
    np.testing.assert_allclose(list(found.values()), expected, rtol=1e-9)
    with pytest.raises(ModelError, match=r"needs the 15 bars before .* Unset TREMOR_FEAST_URL"):
        scores(town, version, feast_url="http://127.0.0.1:9")


def test_the_newest_bars_are_those_that_a_judge_would_look_back_on(bare):
    """Without bars found to be data errors, other arithmetic, and what was known later."""
    rows = rows_of("1d", [[(1, [0])] * 6])
    errors, known_later = [2, 5], 4
    wrong = rows.iloc[errors].assign(known_at=rows["known_at"].max() + DAY, body=np.nan)
    late = rows.iloc[[known_later]].assign(known_at=rows["known_at"].max() + 2 * DAY, body=9.0)
    other = rows.assign(version="0", body=7.0)
    with open_warehouse(bare.read_settings()) as warehouse:
        warehouse.execute("truncate features")
        warehouse.upsert(FEATURE_VALUES, pd.concat([rows, wrong, late, other]))
        asked = (warehouse, ["S0", "S9"], "1d", ("body", "volume_ratio"), 3)
        found = newest_features(*asked, as_of=wrong["known_at"].max())
        none = newest_features(*asked, as_of=wrong["known_at"].max() + 500 * DAY)
    expected = rows.iloc[[3, 4, 5]]
    assert found["ts"].tolist() == expected["ts"].tolist()
    assert found["body"].tolist()[:2] == expected["body"].tolist()[:2]
    assert np.isnan(found["body"].iloc[2])
    assert none.empty


WANTED = ("volume_ratio", "body")


def answer(names=None, **changed):
    """What Feast answers for AAA and ZZZ, of which it knows nothing; something is changed in it."""
    values = {
        "symbol": ["AAA", "ZZZ"],
        "ts": [1710201600, None],
        "closes_at": [1710273600, None],
        "known_at": [1710331200, None],
        "body": [0.5, None],
        "volume_ratio": ["NaN", None],
        **changed,
    }
    results = [{"values": each, "statuses": ["PRESENT", "NOT_FOUND"]} for each in values.values()]
    said = {"metadata": {"feature_names": names or list(values)}, "results": results}
    return json.dumps(said).encode()


def test_an_answer_of_the_server_is_read_by_its_names():
    """In whatever order; unknown numbers are NaN, and what it does not know has no row."""
    with stand_in() as server:
        server.answer = answer()
        rows = FeatureServer(server.url, "1d").newest(["AAA", "ZZZ"], WANTED)
        asked = json.loads(server.asked)
    assert asked["entities"] == {"symbol": ["AAA", "ZZZ"]}
    assert asked["features"][-2:] == [f"{view_name('1d')}:{name}" for name in WANTED]
    assert rows.to_dict("records")[0] | {"volume_ratio": 0.0} == {
        "symbol": "AAA",
        "ts": LAST,
        "closes_at": pd.Timestamp("2024-03-12 20:00", tz="UTC"),
        "known_at": MORNING,
        "volume_ratio": 0.0,
        "body": 0.5,
    }
    assert (len(rows), rows["volume_ratio"].isna().tolist()) == (1, [True])


BROKEN = {
    "no JSON": (b"<html>sorry</html>", "gave no features"),
    "nested without end": (b"[" * 100_000, "gave no features"),
    "another shape": (b'{"detail": []}', "not in Feast's shape"),
    "a list": (b"[1, 2]", "not in Feast's shape"),
    "another feature": (
        answer(["symbol", "ts", "closes_at", "known_at", "body", "x"]),
        "other feat",
    ),
    "a feature too few": (answer(["symbol", "ts", "closes_at", "known_at", "body"]), "other feat"),
    "another instrument": (answer(symbol=["BBB", "ZZZ"]), "other instruments"),
    "values too few": (answer(body=[0.5]), "as many values"),
    "a text for a number": (answer(body=["0.5", None]), "body is '0.5', no number"),
    "no finite number": (answer(body=["Infinity", None]), "body is 'Infinity', no number"),
    "a number beyond all": (answer(body=[1e308, None]).replace(b"1e+308", b"1e999"), "body is inf"),
    "a truth for a number": (answer(body=[True, None]), "body is True, no number"),
    "an instant as text": (answer(ts=["2024-03-12", None]), "ts is '2024-03-12', no second"),
    "an instant in ns": (answer(ts=[1710201600 * 10**9, None]), "no second since 1970"),
    "a bar without its close": (answer(closes_at=[None, None]), "without all of its instants"),
    "a close before the open": (answer(closes_at=[1710201600, None]), "closed before it opened"),
    "a line that breaks out": (answer(body=["\n\x1b[31merror: all is well", None]), "body is '"),
    "megabytes": (b" " * 300_000, "more than"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_garbage_from_the_server_is_one_line(name):
    """Nothing of an answer is believed that is not what was asked for."""
    body, expected = BROKEN[name]
    with stand_in() as server:
        server.answer = body
        with pytest.raises(FeatureStoreError, match=re.escape(expected)) as raised:
            FeatureServer(server.url, "1d").newest(["AAA", "ZZZ"], WANTED)
    said = str(raised.value)
    assert said.startswith(f"feature server {server.url}: gave no features: ")
    assert said.endswith(". Look at what listens there, or unset TREMOR_FEAST_URL.")
    assert said.isprintable()
    assert len(said) < 300


@pytest.mark.parametrize("status", [302, 404, 500, 503])
def test_a_refusal_of_the_server_is_one_line(status):
    """With its code, its words made harmless, and the remedy; a redirect is not followed."""
    with stand_in() as server:
        server.answer, server.status = b"View\nnot\x1b[31m known" * 100, status
        with pytest.raises(FeatureStoreError) as raised:
            FeatureServer(server.url, "1d").newest(["AAA"], WANTED)
    said = str(raised.value)
    assert f"answered {status} for features_1d_v1: View not" in said
    assert said.endswith("feature_store apply`, and start it anew.")
    assert said.isprintable()


def test_a_server_that_is_dead_or_slow_is_one_line():
    """Within the patience that is set."""
    with pytest.raises(FeatureStoreError, match=r"is not reached. Start it: `.* serve`"):
        FeatureServer(f"http://127.0.0.1:{free_port()}", "1d").newest(["AAA"], WANTED)
    with pytest.raises(FeatureStoreError, match="is not reached"):
        FeatureServer("http://[", "1d").newest(["AAA"], WANTED)
    with stand_in() as server:
        server.pause_s = 1
        with pytest.raises(FeatureStoreError, match="did not answer in time"):
            FeatureServer(server.url, "1d", timeout_s=0.05).newest(["AAA"], WANTED)


def test_features_that_are_stale_or_of_the_future_are_refused(served, town):
    """Where no instrument is left to score, with the remedy; by the exchange's own clock."""
    late = pd.Timestamp("2024-03-14 12:00", tz="UTC")
    with pytest.raises(FeatureStoreError) as raised:
        scores(town, as_of=late, feast_url=served, symbols=("AAA", "ZZZ"))
    assert str(raised.value) == (
        f"feature server {served}: AAA: its features are those of 2024-03-12, and the bar of "
        "2024-03-13 has closed. Run `python main.py features`, then bring them online."
    )
    with pytest.raises(FeatureStoreError, match=r"^warehouse .* Run `python main.py features`.$"):
        scores(town, as_of=late, symbols=("AAA", "ZZZ"))
    early = pd.Timestamp("2024-03-13 00:00", tz="UTC")
    with pytest.raises(ModelError, match="known on 2024-03-13 12:00, behind --as-of 2024-03-13 00"):
        scores(town, as_of=early, feast_url=served)
    assert scores(town, as_of=early)[0].scores[0].ts == LAST - DAY


def test_the_server_serves_what_reads_and_nothing_that_writes(feast, town):
    """On loopback alone: no one who reaches it may change a feature."""
    feast.command(town, "materialise")
    with feast.serving(town) as url:
        for path in ("push", "write-to-online-store", "materialize", "materialize-incremental"):
            assert requests.post(f"{url}/{path}", json={}, timeout=10).status_code == 404
        assert requests.get(f"{url}/health", timeout=10).status_code == 200


def test_a_mistake_is_one_line_with_its_remedy(feast, bare, town):
    """Nothing stored, a store that is unknown or down, an address that cannot be read."""
    shutil.rmtree(bare.folder / "var/lake/features", ignore_errors=True)
    nothing = feast.command(bare, "materialise").error
    assert "no features of 1d bars are stored. Run `python main.py features" in nothing
    assert "Write lake or warehouse" in feast.command(bare, "apply", "--offline", "csv").error
    refused = feast.command(town, "training-set", "x.parquet", "--since", "soon").error
    assert "--since 'soon' is no date" in refused
    asked = ("training-set", "x.parquet", "--since", "2024-01-01", "--symbols", "ZZZ")
    assert "no bar of these instruments closed then" in feast.command(town, *asked).error
    assert "See --help" in feast.command(town, "materialize").error
    elsewhere = [sys.executable, "-m", "components.entrypoints.feature_store", "apply"]
    seen = subprocess.run(elsewhere, cwd=ROOT, capture_output=True, text=True, check=False)
    said = f"error: Feast is not installed for {sys.executable}. Run `make feast`, then "
    assert (seen.returncode, seen.stderr[: len(said)]) == (2, said)
    for url in ("http://x", "redis://", f"redis://:{IN_ADDRESS}@x:port"):
        assert (
            "TREMOR_REDIS_URL cannot be read" in feast.command(town, "apply", redis_url=url).error
        )
    dead = f"redis://:{IN_ADDRESS}@127.0.0.1:{free_port()}/0"
    error = feast.command(town, "materialise", redis_url=dead).error
    assert "asking Redis at 127.0.0.1" in error
    assert "Check TREMOR_REDIS_URL" in error
    with redis_server("another word") as port:
        wrong = f"redis://:{IN_ADDRESS}@127.0.0.1:{port}/0"
        assert "Check TREMOR_REDIS_URL" in feast.command(town, "materialise", redis_url=wrong).error
    down = f"postgresql://tremor:{IN_ADDRESS}@127.0.0.1:{free_port()}/db"
    asked = ("materialise", "--offline", "warehouse")
    assert "Connection refused" in feast.command(town, *asked, warehouse_url=down).error
