"""Parameters of the micro and macro views: checked, never transplanted, reloaded while in use."""

import json
import os
import pickle
import time
from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.carried import Snapshot, from_arrow, to_arrow
from components.ensemble import Ensemble
from components.errors import ParametersError
from components.parameters import (
    MOST_BYTES,
    PLACED_FEATURES,
    EstimatedOn,
    OfClass,
    Parameters,
    Place,
    from_said,
    parse,
    to_text,
    version_of,
    written,
)
from components.sessions import Calendars
from components.steps.parameters import Watched, read_file
from components.verdicts import verdict_rows
from components.wiring import open_parts
from tests.panels_made import candle_panel
from tests.terminal import hurry, tremor
from tests.trained_worlds import N_BARS, SINCE, fill

VIEWS = ("micro_return", "micro_range", "macro_volatility", "macro_volume")
UNITS = {name: "log" if name.startswith("macro") else "z" for name in PLACED_FEATURES}
COINS = Calendars({"S0": "24/7"})
EPOCH = pd.Timestamp(0, tz="UTC")
MADE = date(2021, 5, 20)


def of_class(center=0.5, spread=2.0, names=PLACED_FEATURES):
    day = datetime(2021, 5, 1, tzinfo=UTC)
    on = EstimatedOn(symbols=("BTCUSDT",), first=day, last=day, n_bars=9, known_as_of=day)
    places = {name: Place(unit=UNITS[name], center=center, spread=spread) for name in names}
    return OfClass(estimated_on=on, features=places)


def file_of(interval="1d", before=None, **classes):
    named = {name.replace("_", "/"): own for name, own in classes.items()}
    return written(before, interval, named or {"24/7": of_class()}, MADE)


def text_of(change=None, *, is_signed=True):
    """The text of a file in which something was changed, with the version that belongs to it."""
    said = json.loads(to_text(file_of()))
    if change:
        change(said)
    if is_signed:
        said["version"] = said["version"] if not change else signed(said)
    return json.dumps(said).encode()


def signed(said):
    import hashlib

    text = json.dumps(said.get("intervals"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def own(said, feature="return_z"):
    return said["intervals"]["1d"]["24/7"]["features"][feature]


def refused(body):
    with pytest.raises(ParametersError) as caught:
        parse(body, "params.json")
    (line,) = str(caught.value).splitlines()
    assert line.startswith("params.json: ")
    assert line.endswith("Make it anew with `python main.py train parameters`.")
    assert len(line) < 400
    return line


def test_what_is_written_is_read_back_and_has_the_version_of_its_content():
    """Round trip; the version names the parameters, not the day on which they were written."""
    file = file_of()
    again = parse(to_text(file).encode(), "here")
    assert again == file
    assert to_text(again) == to_text(file)
    other_day = written(None, "1d", {"24/7": of_class()}, date(2022, 1, 1))
    assert other_day.version == file.version == version_of(file.intervals)
    assert file_of(**{"24_7": of_class(center=0.6)}).version != file.version


def test_several_intervals_and_classes_live_in_one_file():
    """Writing one keeps the others, and replaces its own."""
    first = file_of("1m")
    second = file_of("1m", first, XNYS=of_class(1.0))
    third = file_of("1d", second)
    assert set(third.intervals) == {"1m", "1d"}
    assert set(third.intervals["1m"]) == {"24/7", "XNYS"}
    assert third.intervals["1m"]["24/7"] == first.intervals["1m"]["24/7"]
    assert file_of("1m", third, XNYS=of_class(2.0)).intervals["1d"] == third.intervals["1d"]


def set_to(key, value):
    return lambda said: own(said).__setitem__(key, value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda said: said.update(schema=2), "schema 2 is not 1"),
        (lambda said: said.update(more=1), "more: Extra inputs"),
        (lambda said: own(said).update(weight=1), "return_z.weight: Extra inputs"),
        (lambda said: own(said).pop("spread"), "return_z.spread: Field required"),
        (set_to("spread", 0), "return_z.spread: Input should be greater than 0"),
        (set_to("spread", -1.5), "spread: Input should be greater than 0"),
        (set_to("center", float("nan")), "center"),
        (set_to("spread", float("inf")), "spread"),
        (set_to("center", "0.5"), "center: Input should be a valid number"),
        (set_to("center", True), "center"),
        (set_to("unit", "log"), "return_z is in z, not in log"),
        (
            lambda said: said["intervals"]["1d"]["24/7"]["features"].update(body=own(said)),
            "no view asks for 'body'",
        ),
        (lambda said: said["intervals"].update({"1 day": {}}), "intervals"),
        (
            lambda said: said["intervals"]["1d"].update(MARS=said["intervals"]["1d"]["24/7"]),
            "no calendar is called 'MARS'",
        ),
        (lambda said: said.update(made_at="yesterday"), "made_at"),
        (
            lambda said: said["intervals"]["1d"]["24/7"]["estimated_on"].update(
                last="2020-01-01T00:00:00Z"
            ),
            "not in this order",
        ),
        (lambda said: said["intervals"]["1d"]["24/7"]["estimated_on"].update(symbols=[]), "symb"),
    ],
)
def test_one_thing_that_is_not_as_it_should_be_refuses_the_whole_file(change, words):
    """The line says where, what, and how to mend it."""
    assert words in refused(text_of(change))


def test_a_file_changed_by_hand_is_refused():
    """A verdict's version has to name what judged it."""
    assert "changed by hand" in refused(text_of(set_to("center", 9.0), is_signed=False))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"[" * 100_000,
        b" " * (MOST_BYTES + 1),
        b'{"schema": 1, "schema": 1}',
        b'{"schema": ' + b"9" * 5000 + b"}",
        b'{"a\\ud800\\n\\u001b[31m": 1}',
    ],
)
def test_what_is_no_such_file_is_refused_in_one_line(body):
    """Empty, cut, another encoding, too deep, too large, a key twice, colours of a terminal."""
    line = refused(body)
    assert "\x1b" not in line
    assert line.isprintable()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)


@settings(max_examples=150)
@given(value=values, at=st.integers(0, 40), cut=st.integers(0, 2000), data=st.data())
def test_no_content_does_more_than_refuse(value, at, cut, data):
    """Any value in any place, cut anywhere, bytes flipped: a file is whole, or it is refused."""
    said = json.loads(to_text(file_of()))
    places = list(places_in(said))
    holder, key = places[at % len(places)]
    holder[key] = value
    body = bytearray(json.dumps(said).encode())
    spot = data.draw(st.integers(0, len(body) - 1))
    flipped = bytes([*body[:spot], body[spot] ^ 64, *body[spot + 1 :]])
    for each in (bytes(body), bytes(body[:cut]), flipped):
        if (line := refusal_of(each)) is None:
            file = parse(each, "params.json")
            assert version_of(file.intervals) == file.version
        else:
            assert "\n" not in line


def refusal_of(body):
    try:
        parse(body, "params.json")
    except ParametersError as error:
        return str(error)
    return None


def places_in(said):
    for key in said:
        yield said, key
        if isinstance(said[key], dict):
            yield from places_in(said[key])


def judged(parameters, panel=None, state=None, views=VIEWS):
    panel = panel or candle_panel(n_series=2, n_bars=500)
    ensemble = Ensemble(views, 12, parameters=parameters)
    state = state or ensemble.start(len(panel.symbols))
    return ensemble.run(state, panel, np.full(len(panel.symbols), 12 / 365))


def test_a_score_is_the_distance_from_the_centre_in_spreads():
    """Of the class that has parameters; the other is judged as if there were no file."""
    bare, placed = judged(None)[1], judged(file_of().of("1d", COINS))[1]
    x = judged(None, views=("micro_log_return", "micro_body"))[1]
    assert (x.score[0][~np.isnan(x.score[0])] >= 0).all()
    np.testing.assert_allclose(placed.score[1:, 0], (bare.score[1:, 0] - 0.5) / 2)
    np.testing.assert_array_equal(placed.score[:, 1], bare.score[:, 1])
    # Either sign is odd of a return: its distance is taken behind the centre.
    own = placed.score[0, 0][~np.isnan(placed.score[0, 0])]
    assert (own >= 0).all()
    assert placed.parameters == (file_of().version, "")


def test_the_version_that_judged_is_in_each_verdict():
    """Empty where nothing was placed: no view asks for it, no file, another class."""
    parameters = file_of().of("1d", COINS)
    rows = verdict_rows(judged(parameters)[1], "a judge", "1d", EPOCH)
    by_symbol = rows.groupby("symbol")["parameters"].unique()
    assert by_symbol["S0"].tolist() == [parameters.version]
    assert by_symbol["S1"].tolist() == [""]
    for found in (judged(None)[1], judged(parameters, views=("knn", "market"))[1]):
        assert set(verdict_rows(found, "a judge", "1d", EPOCH)["parameters"]) == {""}


def test_parameters_of_another_interval_or_class_are_not_transplanted():
    """Those of minutes judge no days, and those of coins no shares; it is said which lack."""
    file = file_of("1m")
    assert file.of("1d", COINS) is None
    found = file.of("1m", COINS)
    assert found.version_for("S0") == file.version
    assert found.version_for("ACME") == ""
    assert found.lacking(("S0", "BTCUSDT")) == ""
    line = found.lacking(("S0", "ACME", "SPY"))
    assert "hold nothing of 1m bars of XNYS: ACME, SPY are judged with neutral ones" in line


def test_a_stream_goes_on_with_other_parameters_between_two_chunks():
    """The state has the same shape with and without, and what was swapped back is as before."""
    panel = candle_panel(n_series=2, n_bars=600)
    halves = [
        replace(panel, ts=panel.ts[:, cut], fields=panel.fields[:, cut])
        for cut in (slice(0, 400), slice(400, 600))
    ]
    one = file_of().of("1d", COINS)
    other = file_of(**{"24_7": of_class(0.1, 1.5)}).of("1d", COINS)
    shapes = [
        {name: a.shape for name, a in Ensemble(VIEWS, 12, parameters=p).start(2).items()}
        for p in (None, one, other)
    ]
    assert shapes[0] == shapes[1] == shapes[2]
    state, _ = judged(one, halves[0])
    state = from_arrow(to_arrow(Snapshot(panel.symbols, state))).state
    _, onward = judged(other, halves[1], state)
    _, kept = judged(one, halves[1], state)
    whole = judged(one, panel)[1]
    np.testing.assert_array_equal(kept.p, whole.p[:, :, 400:])
    np.testing.assert_array_equal(onward.score, judged(other, panel)[1].score[:, :, 400:])
    assert set(onward.parameters) == {other.version, ""}


def test_changed_parameters_are_a_changed_setting_where_a_view_asks_for_them():
    """A run then judges anew from the first bar, as for any other; else nothing is rebuilt."""
    one = file_of().of("1d", COINS)
    other = file_of(**{"24_7": of_class(0.1)}).of("1d", COINS)

    def print_of(parameters, views=VIEWS):
        return Ensemble(views, 12, parameters=parameters).fingerprint

    assert len({print_of(None), print_of(one), print_of(other)}) == 3
    assert print_of(one) == print_of(from_said(json.loads(json.dumps(one.as_said())), COINS))
    elsewhere = file_of("1m", file_of()).of("1d", COINS)
    assert elsewhere.version != one.version
    assert print_of(elsewhere) == print_of(one)
    assert print_of(one, ("knn", "market")) == print_of(None, ("knn", "market"))


def test_parameters_go_to_another_process():
    """Spark's workers get the ensemble as bytes."""
    one = file_of().of("1d", Calendars())
    assert pickle.loads(pickle.dumps(one)) == one


def put(path, file, *, age_s=0.0):
    """Write a file in one go, as if so many seconds ago."""
    new = path.with_suffix(".new")
    new.write_bytes(file if isinstance(file, bytes) else to_text(file).encode())
    then = time.time() - age_s
    os.utime(new, (then, then))
    new.replace(path)


def watched(path, **more):
    return Watched(path, "1d", COINS, every_s=0, **more)


def test_a_change_is_taken_with_the_next_look(tmp_path):
    """None before there is a file; each version as it is written; the same one costs no reading."""
    path = tmp_path / "params.json"
    watch = watched(path)
    assert watch.newest() is None
    for center in (0.1, 0.2, 0.3):
        file = file_of(**{"24_7": of_class(center)})
        put(path, file)
        assert watch.newest().version == file.version
    put(path, file, age_s=60)
    first = watch.newest()
    path.chmod(0o600)
    assert watch.newest() is first


def test_a_file_is_looked_at_no_more_often_than_asked(tmp_path):
    """A loop that asks for each candle costs no reading; within the time a change is seen."""
    path = tmp_path / "params.json"
    watch = Watched(path, "1d", COINS, every_s=1000)
    assert watch.newest() is None
    put(path, file_of())
    assert watch.newest() is None


@pytest.mark.parametrize("is_old", [True, False])
def test_two_writes_within_a_tick_of_the_clock_are_both_seen(tmp_path, is_old):
    """Of the same size, in the same place, at the same instant."""
    path = tmp_path / "params.json"
    watch = watched(path)
    for center in (0.25, 0.75):
        file = file_of(**{"24_7": of_class(center)})
        path.write_text(to_text(file))
        if not is_old:
            os.utime(path, ns=(2**60, time.time_ns() // 10**9 * 10**9))
        assert watch.newest().version == file.version


def test_a_broken_file_is_refused_once_and_the_old_one_stays(tmp_path, caplog):
    """Half-written, emptied, another interval's, a folder, gone: nothing changes, one line each."""
    path = tmp_path / "params.json"
    watch, good = watched(path), file_of()
    put(path, good)
    version = watch.newest().version
    body = to_text(good).encode()
    for broken in (body[:100], b"", b"{}", to_text(file_of("1m")).encode()):
        caplog.clear()
        put(path, broken)
        for _ in range(3):
            assert watch.newest().version == version
        (line,) = caplog.messages
        assert str(path) in line
        assert line.endswith(f"In force: those of version {version} stay.")
    caplog.clear()
    path.unlink()
    assert [watch.newest().version for _ in range(3)] == [version] * 3
    path.mkdir()
    assert [watch.newest().version for _ in range(3)] == [version] * 3
    path.rmdir()
    os.mkfifo(path)
    assert watch.newest().version == version
    assert len(caplog.messages) <= 3
    path.unlink()
    better = file_of(**{"24_7": of_class(0.9)})
    put(path, better)
    assert watch.newest().version == better.version


def test_what_is_lacking_is_said_when_it_is_taken(tmp_path, caplog):
    """Of what is watched; once a content."""
    path = tmp_path / "params.json"
    put(path, file_of())
    watch = watched(path, symbols=("S0", "ACME"))
    assert isinstance(watch.newest(), Parameters)
    assert watch.newest().version_for("ACME") == ""
    assert sum("of XNYS: ACME are judged" in line for line in caplog.messages) == 1


def test_a_file_in_pieces_is_read_when_it_is_whole(tmp_path):
    """Who writes it in place shows half of it to everybody else."""
    path = tmp_path / "params.json"
    watch, body = watched(path), to_text(file_of()).encode()
    with path.open("wb") as stream:
        for at in range(0, len(body), 97):
            assert watch.newest() is None
            stream.write(body[at : at + 97])
            stream.flush()
    assert watch.newest().version == file_of().version


@pytest.fixture(scope="module")
def quick_server(postgres_server):
    """The server need not wait for its disk."""
    hurry(postgres_server)


@pytest.fixture
def market(world, quick_server):
    """Six instruments of five years, judged by micro and macro views."""
    fill(world, 6)
    world.settings |= {"detectors": ",".join(VIEWS)}
    return world


def test_train_writes_them_and_the_next_run_judges_with_them(market):
    """From the command to the stored verdict; trained anew on other bars, all is judged anew."""
    path = market.folder / "var/params.json"
    assert tremor(market, "run", "--as-of", "2024-03-13T12:00").code == 0
    assert set(market.query("select distinct parameters from verdicts")["parameters"]) == {""}
    seen = tremor(market, "train", "parameters", "--share", "0.5")
    assert seen.code == 0
    file = read_file(path)
    assert f"version {file.version}" in seen.out
    (found,) = file.intervals["1d"].values()
    assert set(found.features) == {*PLACED_FEATURES}
    assert found.estimated_on.n_bars == pytest.approx(0.5 * 6 * N_BARS, rel=0.01)
    assert 0.5 < found.features["return_z"].spread < 1.5
    assert found.features["macro_range"].center > 0.3
    again = tremor(market, "train", "parameters", "--share", "0.5", "--json")
    file = read_file(path)
    assert json.loads(again.out)["version"] == file.version
    assert next(iter(file.intervals["1d"].values())).features == found.features
    assert path.read_text() == to_text(read_file(path))
    assert not list(path.parent.glob(".params.json.[0-9]*"))

    assert tremor(market, "run", "--as-of", "2024-03-13T13:00").code == 0
    newest = market.query(
        "select distinct on (symbol, ts) parameters from verdicts "
        "order by symbol, ts, known_at desc"
    )
    assert set(newest["parameters"]) == {file.version}
    manifest = json.loads(
        max((market.folder / "var/lake/runs").glob("*/manifest.json")).read_text()
    )
    assert manifest["judge"]["parameters"]["version"] == file.version


def test_a_run_stops_at_a_broken_file_and_training_mends_it(market):
    """Exit code 2 with the remedy, before anything is judged; the remedy works."""
    path = market.folder / "var/params.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text("{}")
    said = tremor(market, "run", "--as-of", "2024-03-13T12:00").error
    assert "params.json: schema: Field required. Make it anew with" in said
    tremor(market, "backfill", "--since", SINCE, "--until", "2024-03-13", detectors="knn")
    assert tremor(market, "train", "parameters").code == 0
    assert path.with_name("params.json.refused").read_text() == "{}"
    assert tremor(market, "run", "--as-of", "2024-03-13T12:00").code == 0


def test_views_that_ask_for_none_read_no_file(market):
    """What nobody uses breaks nothing."""
    path = market.folder / "var/params.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text("{}")
    with open_parts(market.read_settings(detectors="knn,market"), EPOCH) as parts:
        assert parts.ensemble.parameters is None


def test_train_says_what_it_cannot_do(market):
    """Nothing held, too little, options of models, a place where nothing can be written."""
    assert "holds no 1d candles" in tremor(market, "train", "parameters").error
    said = tremor(market, "train", "parameters", "--features", "body").error
    assert "takes no --features" in said
