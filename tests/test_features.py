"""The laws of features, over every one of the registry, and what each of them means."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.carried import Snapshot, from_arrow, scoped, to_arrow
from components.detectors.base import VECTOR_FEATURES
from components.errors import UnknownName
from components.features import FEATURES, VECTORS, VERSION, columns
from components.features.base import Feature
from components.features.channels import Channels
from components.features.columns import Columns
from components.panels import FIELDS, CandlePanel
from components.tables import FEATURE_VALUES
from tests.causality import assert_local, assert_no_look_ahead, assert_pieces_equal_whole
from tests.panels_made import candle_panel

N_SERIES, N_BARS = 4, 480
EVERY = tuple(FEATURES)
LOCAL = [name for name in EVERY if FEATURES[name].kind == "local"]
DOCS = Path(__file__).parents[1] / "docs/FEATURES.md"

every_feature = pytest.mark.parametrize("name", EVERY)
every_local = pytest.mark.parametrize("name", LOCAL)
every_panel = pytest.mark.parametrize("kind", ["days", "minutes"])
cuts = st.lists(st.integers(0, N_BARS), max_size=5).map(sorted)


def at(field):
    return FIELDS.index(field)


@cache
def eventful(kind):
    """Bars with a late listing, splits, gaps, a halt, volumes of 0 and none, vwap, a coin."""
    panel = candle_panel(seed=8, n_series=N_SERIES, n_bars=N_BARS, with_market=True)
    fields, ts = panel.fields, panel.ts
    random = np.random.default_rng(5)
    fields[:, :, at("market_volume")] = 0.3 * random.standard_normal(N_BARS)
    fields[0, [90, 350], at("steps")] = [285, 3]
    fields[1, 200:240, :4] = fields[1, 199, 3]
    fields[1, 200:240, at("volume")] = 0
    fields[2, [150, 155], at("split")] = [2, 0.1]
    fields[2, 300:303, at("volume")] = np.nan
    fields[2, 310, at("volume")] = 0
    fields[2, 120, at("market") : at("market") + 1] = np.nan
    low, high = fields[0, :, at("low")], fields[0, :, at("high")]
    fields[0, :, at("vwap")] = low + (high - low) * random.uniform(size=N_BARS)
    fields[0, 50, at("vwap")] = 1e9
    fields[3, :70], ts[3, :70] = np.nan, np.datetime64("NaT")
    if kind == "minutes":
        since = np.arange(N_BARS) * np.timedelta64(45, "m")
        ts = np.where(np.isnat(ts), ts, np.datetime64("2024-03-07T12:00", "us") + since)
    return CandlePanel(panel.symbols, ts, fields, frozenset({"S1"}))


def part(panel, first, last):
    ts, fields = panel.ts[:, first:last], panel.fields[:, first:last]
    return CandlePanel(panel.symbols, ts, fields, panel.round_the_clock)


def begin(names, n_series=N_SERIES):
    channels = {f"channels.{name}": a for name, a in Channels().start(n_series).items()}
    return channels | {f"own.{name}": a for name, a in Columns(names).start(n_series).items()}


def go_on(names, state, panel):
    """Channels and columns of the next bars, as the judgement makes them."""
    before, own = scoped(state, "channels"), scoped(state, "own")
    channels, channelled = Channels().run(before, panel)
    own, found = Columns(names).run(own, panel, before["close"].astype(float), channelled)
    state = {f"channels.{name}": a for name, a in channels.items()}
    return state | {f"own.{name}": a for name, a in own.items()}, found


def values(name, panel):
    return go_on((name,), begin((name,), len(panel.symbols)), panel)[1][name]


def cut_of(name, panel):
    return lambda first, last: values(name, part(panel, first, last))


@every_feature
@every_panel
@settings(deadline=None, max_examples=8)
@given(last=st.integers(1, N_BARS))
def test_later_bars_change_no_value(name, kind, last):
    """No look-ahead: truncating the future changes nothing, bit for bit."""
    assert_no_look_ahead(cut_of(name, eventful(kind)), N_BARS, last)


@every_local
@every_panel
@settings(deadline=None, max_examples=12)
@given(last=st.integers(0, N_BARS - 1))
def test_nothing_beyond_its_context_changes_a_local_value(name, kind, last):
    """A bar with its context alone gets the value that all history gives it, bit for bit."""
    assert_local(cut_of(name, eventful(kind)), N_BARS, FEATURES[name].context, last)


@every_feature
@every_panel
@settings(deadline=None, max_examples=8)
@given(cuts=cuts)
def test_pieces_equal_the_whole_bit_for_bit(name, kind, cuts):
    """A run a day or a minute gives what one over all history gives, through stored state."""
    panel = eventful(kind)

    def run(state, first, last):
        state = from_arrow(to_arrow(Snapshot(panel.symbols, state))).state
        state, found = go_on((name,), state, part(panel, first, last))
        return state, found[name]

    assert_pieces_equal_whole(begin((name,)), run, N_BARS, cuts)


@every_panel
def test_all_together_are_what_each_is_alone(kind):
    """A column does not depend on which others are asked for, nor on the other instruments."""
    panel = eventful(kind)
    _, found = go_on(EVERY, begin(EVERY), panel)
    assert tuple(found) == EVERY
    for name in EVERY:
        np.testing.assert_array_equal(found[name], values(name, panel))
    one = CandlePanel(("S1",), panel.ts[1:2], panel.fields[1:2], panel.round_the_clock)
    _, alone = go_on(EVERY, begin(EVERY, 1), one)
    for name in EVERY:
        np.testing.assert_array_equal(alone[name][0], found[name][1])


@every_feature
def test_the_context_is_told_exactly(name):
    """The first value comes with the bar at ``context``: neither earlier nor later."""
    panel = candle_panel(seed=2, n_bars=100, with_market=True)
    panel.fields[:, :, at("market_volume")] = panel.field("market")
    is_known = np.isfinite(values(name, panel))
    assert (is_known.argmax(axis=1) == FEATURES[name].context).all()
    assert is_known[:, FEATURES[name].context :].all()


@every_feature
@every_panel
def test_a_value_is_finite_or_nan_and_alive(name, kind):
    """No division by a halt's zero; what never varies would pass all laws."""
    found = values(name, eventful(kind))
    assert not np.isinf(found).any()
    assert np.isnan(found[3, :70]).all()
    assert all(len(np.unique(row[np.isfinite(row)])) > 60 for row in found[[0, 2, 3]])


@every_feature
def test_the_units_of_price_and_volume_do_not_matter(name):
    """In cents or coins, lots or shares: the same values to rounding, but for money."""
    panel = eventful("days")
    fields = panel.fields.copy()
    for field in ("open", "high", "low", "close", "volume", "vwap"):
        fields[:, :, at(field)] *= 1000
    other = values(name, CandlePanel(panel.symbols, panel.ts, fields, panel.round_the_clock))
    is_same = np.allclose(other, values(name, panel), rtol=1e-6, atol=1e-9, equal_nan=True)
    assert is_same == FEATURES[name].is_scale_free
    assert (FEATURES[name].unit == "money") == (name == "price_amplitude")


def doomed(name, made, context):
    """The registry with one more feature."""
    return {**FEATURES, name: Feature("", "log", context, made)}


def test_the_look_ahead_checker_finds_one_that_looks_ahead(monkeypatch):
    """A checker that cannot fail is none: a centred mean, and a mean over all bars."""
    panel = eventful("days")

    def centred(panel, _close):
        return np.convolve(panel.field("close").ravel(), np.ones(3), "same").reshape(panel.ts.shape)

    def demeaned(panel, _close):
        close = panel.field("close")
        return close - np.nanmean(close, axis=1, keepdims=True)

    for made in (centred, demeaned):
        monkeypatch.setattr(columns, "FEATURES", doomed("seer", made, 0))
        with pytest.raises(AssertionError):
            assert_no_look_ahead(cut_of("seer", panel), N_BARS, 300)


@pytest.mark.parametrize("name", [name for name in LOCAL if FEATURES[name].context])
def test_the_recursion_checker_finds_an_understated_context(name, monkeypatch):
    """One bar less than the formula reads: the value changes or goes."""
    feature = FEATURES[name]
    short = replace(feature, context=feature.context - 1)
    monkeypatch.setattr(columns, "FEATURES", {**FEATURES, name: short})
    with pytest.raises(AssertionError):
        assert_local(cut_of(name, eventful("days")), N_BARS, short.context, 400)
    if short.reads_tail:
        # The tail that is carried is as long as the context says.
        panel = eventful("days")
        state, _ = go_on((name,), begin((name,)), part(panel, 0, 400))
        _, found = go_on((name,), state, part(panel, 400, 401))
        assert np.isnan(found[name]).all()


def test_the_piece_checker_finds_a_state_that_is_forgotten():
    """One that starts anew with each piece gives other values."""
    panel = eventful("days")

    def forgetful(state, first, last):
        return state, values("dollar_volume_z", part(panel, first, last))

    with pytest.raises(AssertionError):
        assert_pieces_equal_whole({}, forgetful, N_BARS, [200])


def test_names_that_remember_nothing_leave_the_state_empty():
    """The state of a judgement that asks for the body alone is what it was."""
    assert not Columns(("body", "log_return", "return_z", "gap_vector")).start(2)
    assert set(Columns(("volume_ratio",)).start(2)) >= {"tail.volume", "tail.split"}


def test_an_unknown_feature_is_told_with_the_known_ones():
    """A misspelt name is one line that lists what there is."""
    with pytest.raises(UnknownName, match="no feature is called 'volatilty'"):
        Columns(("volatilty",))


def test_the_stored_columns_and_the_bent_channels_are_those_of_the_registry():
    """A feature that has no column would be computed and lost."""
    stored = [n for n in FEATURE_VALUES.columns if n not in (*FEATURE_VALUES.key, "closes_at")]
    assert stored == list(EVERY)
    assert VECTORS == VECTOR_FEATURES


def test_the_documented_table_is_that_of_the_registry():
    """One row a feature: name, formula, unit, kind, context."""
    rows = [
        [cell.strip().replace("\\|", "|") for cell in line[2:-2].replace("\\|", "¦").split("|")]
        for line in DOCS.read_text().splitlines()
        if line.startswith("| `")
    ]
    told = [[cell.strip("`").replace("¦", "|") for cell in row] for row in rows]
    assert told == [
        [name, f.formula, f.unit, f.kind, str(f.context)] for name, f in FEATURES.items()
    ]
    assert f"version {VERSION}" in DOCS.read_text()


def simple(n_bars=40, **columns):
    """One instrument at 100, from 98 to 102, 1000 shares a bar, with columns set."""
    fields = np.full((1, n_bars, len(FIELDS)), np.nan)
    usual = {"open": 100, "high": 102, "low": 98, "close": 100, "volume": 1000, "split": 1}
    for name, value in (usual | columns).items():
        fields[0, :, at(name)] = value
    days = np.datetime64("2024-01-01", "us") + np.arange(n_bars) * np.timedelta64(1, "D")
    return CandlePanel(("A",), days[None], fields)


def with_last(name, usual, last, n_bars=40):
    column = np.full(n_bars, float(usual))
    column[-1] = last
    return {name: column}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("body", 0.02),
        ("return", 102 / 100 - 1),
        ("log_return", np.log(1.02)),
        ("gap", 0),
        ("volatility", 0.05),
        ("price_range", 5 / 102),
        ("low_range", 5 / 99),
        ("bar_range", 0.05),
        ("price_amplitude", 2),
    ],
)
def test_what_a_bar_moved(name, expected):
    """Open 100, high 104, low 99, close 102 after a close of 100."""
    bars = with_last("high", 100, 104) | with_last("low", 100, 99) | with_last("close", 100, 102)
    assert values(name, simple(**bars))[0, -1] == pytest.approx(expected, abs=1e-12)


def test_a_split_is_no_move_and_no_volume():
    """Four new shares for one: a quarter of the price, four times the shares traded."""
    split = np.ones(40)
    split[30] = 4
    shares = np.cumprod(split)
    price = dict.fromkeys(("open", "close"), 100 / shares)
    panel = simple(**price, high=101 / shares, low=99 / shares, volume=1000 * shares, split=split)
    expected = {
        "return": 0,
        "gap": 0,
        "bar_range": 0.02,
        "volume_ratio": 1,
        "volatility_ratio": 1,
        "return_std": 0,
        "vwap_distance": 0,
        "adjusted_volume": 0,
        "dollar_volume_z": 0,
    }
    for name, value in expected.items():
        assert values(name, panel)[0, 30:] == pytest.approx(np.full(10, value), abs=1e-9), name


def test_volume_and_range_are_held_against_ten_earlier_bars():
    """The bar itself is left out, so that a burst cannot hide in its own mean."""
    panel = simple(**with_last("volume", 1000, 5000), **with_last("high", 102, 108))
    assert values("volume_ratio", panel)[0, -2:] == pytest.approx([1, 5])
    assert values("volatility_ratio", panel)[0, -2:] == pytest.approx([1, 2.5])


def test_return_std_is_of_the_ten_earlier_returns():
    """A crash enters it with the bar after."""
    close = 100 * np.exp(np.cumsum(0.01 * np.random.default_rng(3).standard_normal(40)))
    close[-2:] *= 0.5
    found = values("return_std", simple(close=close))[0]
    logs = np.diff(np.log(close))
    assert found[-1] == pytest.approx(logs[-11:-1].std())
    assert found[-2] == pytest.approx(logs[-12:-2].std())


def test_volumes_of_zero_and_none_are_told_apart():
    """Nothing traded is a ratio of 0 and enters the mean; no volume known is no ratio."""
    volume = np.full(40, 1000.0)
    volume[20], volume[35] = 0, np.nan
    ratio = values("volume_ratio", simple(volume=volume))[0]
    assert ratio[20] == 0
    assert ratio[21] == pytest.approx(1 / 0.9)
    assert np.isnan(ratio[35:]).all()
    assert np.isnan(values("dollar_volume_z", simple(volume=volume))[0, 35])
    dead = simple(volume=0.0)
    for name in ("volume_ratio", "vwap_distance", "adjusted_volume", "dollar_volume_z"):
        assert np.isnan(values(name, dead)).all()


def test_vwap_is_the_sources_own_where_it_has_one():
    """Else the typical price; one that lies outside the bar is not believed."""
    panel = simple(high=110.0, low=90.0, **with_last("vwap", np.nan, 95))
    assert values("vwap_distance", panel)[0, -1] == pytest.approx(np.log(100 / 99.5))
    panel.fields[0, -1, at("vwap")] = 111
    assert values("vwap_distance", panel)[0, -1] == pytest.approx(0)


def test_a_gap_is_none_behind_missing_bars_and_where_markets_never_close():
    """There it would hold all that the missing bars did."""
    panel = simple(**with_last("open", 100, 105))
    assert values("gap", panel)[0, -1] == pytest.approx(np.log(1.05))
    coin = CandlePanel(panel.symbols, panel.ts, panel.fields, frozenset({"A"}))
    assert np.isnan(values("gap", coin)).all()
    panel.fields[0, -1, at("steps")] = 2
    assert np.isnan(values("gap", panel)[0, -1])


def test_a_return_over_missing_bars_is_in_the_size_of_one_bar():
    """Over four steps it is divided by two, as volatility grows."""
    panel = simple(**with_last("close", 100, 104))
    panel.fields[0, -1, at("steps")] = 4
    assert values("return", panel)[0, -1] == pytest.approx(0.02)
    assert values("log_return", panel)[0, -1] == pytest.approx(np.log(1.04) / 2)


def test_what_the_market_did_is_taken_off():
    """An instrument that moves twice as much as its market, in price and in volume."""
    random = np.random.default_rng(4)
    market = 0.01 * random.standard_normal(300)
    rest = np.zeros(300)
    rest[-1] = 0.03
    close = 100 * np.exp(np.cumsum(2 * market + rest))
    busy = 0.3 * random.standard_normal(300)
    traded = np.zeros(300)
    volume = np.full(300, 1000.0)
    for t in range(10, 300):
        traded[t] = 1.5 * busy[t] + (0.7 if t == 299 else 0)
        volume[t] = volume[t - 10 : t].mean() * np.exp(traded[t])
    panel = simple(300, close=close, volume=volume, market=np.expm1(market), market_volume=busy)
    own = values("market_relative_return", panel)[0]
    assert own[-1] == pytest.approx(0.03, abs=1e-6)
    assert np.abs(own[150:-1]).max() < 1e-5
    own = values("market_relative_volume", panel)[0]
    assert own[-1] == pytest.approx(0.7, abs=1e-6)
    assert np.abs(own[150:-1]).max() < 1e-5


def half_hours(n_days, profile, *, always=True, start="2024-01-01", begin=None):
    """Bars of a quarter of an hour with a volume by time and weekday."""
    quarter = np.timedelta64(15, "m")
    ts = np.datetime64(start, "us") + np.arange(n_days * 96) * quarter
    day = (ts.astype("datetime64[D]").astype(int) + 3) % 7
    of_day = ((ts - ts.astype("datetime64[D]")) // quarter).astype(int)
    volume = profile(ts, day, of_day)
    kept = volume > 0
    panel = simple(int(kept.sum()), volume=volume[kept])
    return CandlePanel(("A",), ts[None, kept], panel.fields, frozenset({"A"} if always else ()))


def test_busy_hours_and_quiet_sundays_are_usual():
    """A daily rhythm is taken off after 4 days, a weekly one after some weeks; a burst stays."""

    def rhythm(_ts, weekday, of_day):
        busy = 1000 * np.exp(np.sin(2 * np.pi * (of_day // 2) / 48))
        volume = busy * np.where(weekday == 6, 0.2, 1)
        volume[-5] *= 9
        return volume

    panel = half_hours(60, rhythm)
    found = values("adjusted_volume", panel)[0]
    assert np.isnan(found[: 4 * 96]).all()
    assert np.isfinite(found[4 * 96 :]).all()
    assert found[4 * 96 : 6 * 96] == pytest.approx(np.zeros(2 * 96), abs=1e-9)
    sundays = found[-14 * 96 :].reshape(14, 96)
    assert np.abs(sundays[:-1]).max() < 0.4
    assert found[-5] == pytest.approx(np.log(9), abs=0.4)
    raw = np.log(panel.field("volume")[0])
    assert np.nanstd(found[-14 * 96 :]) < 0.35 * raw[-14 * 96 :].std()


def test_summer_time_moves_no_opening():
    """An exchange's slots count from the day's first bar, so that its busy open stays usual."""

    def session(ts, weekday, of_day):
        opens = np.where(ts < np.datetime64("2024-03-10"), 58, 54)
        since = of_day - opens
        is_open = (since >= 0) & (since < 26) & (weekday < 5)
        return np.where(is_open, np.where(since < 2, 9000, 1000), 0)

    found = values("adjusted_volume", half_hours(40, session, always=False, start="2024-02-12"))
    assert np.nanmax(np.abs(found)) < 1e-9
    by_utc = values("adjusted_volume", half_hours(40, session, start="2024-02-12"))
    assert np.nanmax(np.abs(by_utc)) > 1


def test_a_daily_bar_is_told_from_its_weekday():
    """A volume that is low each Sunday is usual on a Sunday, once some have been seen."""
    weekday = np.arange(140) % 7
    panel = simple(140, volume=np.where(weekday == 6, 200.0, 1000.0))
    found = values("adjusted_volume", panel)[0]
    assert np.isnan(found[:4]).all()
    assert np.abs(found[-28:]).max() < 0.25
    assert found[6] == pytest.approx(np.log(0.2))
