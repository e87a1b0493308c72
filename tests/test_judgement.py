"""The judgement: carried stages, p-values, the kept rate, verdicts."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.calibration import KeptRate, NormalRule, Reference, two_sided
from components.carried import Snapshot, from_arrow, to_arrow
from components.detectors import DETECTORS
from components.ensemble import Ensemble
from components.errors import SettingsError, UnknownName
from components.features.scale import VolatilityUnits
from components.panels import FIELDS, CandlePanel, pack
from components.settings import ENSEMBLE, ENSEMBLE_OF_SHORT, Settings
from components.sources import open_source
from components.verdicts import score_rows, verdict_rows
from components.wiring import judge_of
from tests import naive
from tests.panels_made import candle_panel

N_SERIES, N_BARS = 3, 400
RATES = np.full(N_SERIES, 4 / 252)
NOW = pd.Timestamp("2024-01-02", tz="UTC")
cuts = st.lists(st.integers(0, N_BARS), max_size=6).map(sorted)


def part(panel, first, last):
    return CandlePanel(
        panel.symbols, panel.ts[:, first:last], panel.fields[:, first:last], panel.round_the_clock
    )


def bounds(cuts):
    return list(zip([0, *cuts], [*cuts, N_BARS], strict=True))


@pytest.mark.parametrize(
    "detectors",
    [
        ("volatility_zscore",),
        ("volatility_zscore", "amplitude_zscore"),
        ENSEMBLE,
        ENSEMBLE_OF_SHORT,
    ],
    ids="+".join,
)
@settings(deadline=None, max_examples=8)
@given(cuts=cuts)
def test_the_whole_equals_its_pieces_bit_for_bit(detectors, cuts):
    """The law of carried state: a day at a time gives what the whole history gives."""
    ensemble, panel = Ensemble(detectors, 12), candle_panel(with_market=True)
    panel.fields[0, [90, 350], FIELDS.index("steps")] = [285, 3]
    if not ensemble.is_carried:
        # The base rule reads all history and is run over all of it every day.
        cuts = []
    state, whole = ensemble.run(ensemble.start(N_SERIES), panel, RATES)
    pieces, carried = [], ensemble.start(N_SERIES)
    for first, last in bounds(cuts):
        carried, judged = ensemble.run(carried, part(panel, first, last), RATES)
        carried = from_arrow(to_arrow(Snapshot(panel.symbols, carried))).state
        pieces.append(judged)
    for name in (
        "score",
        "p",
        "agreed_p",
        "rate",
        "is_anomaly",
        "bars_lacking",
        "scale",
        "move",
        "level",
        "votes",
        "is_stale",
        "residual_p",
        "market_part",
        "channels",
    ):
        joined_up = np.concatenate([getattr(piece, name) for piece in pieces], axis=-1)
        np.testing.assert_array_equal(joined_up, getattr(whole, name))
    for name, array in state.items():
        np.testing.assert_array_equal(carried[name], array)


def test_an_instrument_is_judged_the_same_alone_and_among_others():
    """No instrument's verdict depends on who else is watched."""
    ensemble, panel = Ensemble(("volatility_zscore",), 4), candle_panel()
    _, together = ensemble.run(ensemble.start(N_SERIES), panel, RATES)
    one = CandlePanel(("S1",), panel.ts[1:2], panel.fields[1:2])
    _, alone = ensemble.run(ensemble.start(1), one, RATES[:1])
    np.testing.assert_array_equal(alone.agreed_p[0], together.agreed_p[1])


@pytest.mark.parametrize("factor", [1000.0, 1e-6])
def test_the_unit_of_the_price_changes_no_verdict(factor):
    """A stock in pence and the same stock in pounds get the same verdicts."""
    ensemble, panel = Ensemble(("volatility_zscore",), 4), candle_panel()
    scaled = panel.fields.copy()
    scaled[:, :, :4] *= factor
    _, first = ensemble.run(ensemble.start(N_SERIES), panel, RATES)
    _, second = ensemble.run(
        ensemble.start(N_SERIES), CandlePanel(panel.symbols, panel.ts, scaled), RATES
    )
    np.testing.assert_array_equal(first.is_anomaly, second.is_anomaly)


def test_a_split_is_no_move():
    """A 4-for-1 split quarters the price as traded and changes no verdict."""
    ensemble, panel = Ensemble(("volatility_zscore",), 4), candle_panel()
    split = panel.fields.copy()
    split[:, 300:, :4] /= 4
    split[:, 300, FIELDS.index("split")] = 4
    _, first = ensemble.run(ensemble.start(N_SERIES), panel, RATES)
    _, second = ensemble.run(
        ensemble.start(N_SERIES), CandlePanel(panel.symbols, panel.ts, split), RATES
    )
    np.testing.assert_array_equal(first.is_anomaly, second.is_anomaly)
    np.testing.assert_allclose(first.move, second.move, rtol=1e-9, atol=1e-15)


def test_the_first_verdict_comes_after_the_stated_number_of_bars():
    """281 bars pass: a close, 30 for the scale, 250 for the ranks; each says how many lack."""
    ensemble, panel = Ensemble(("volatility_zscore",), 4), candle_panel()
    assert ensemble.bars_before_verdict == 281
    _, judged = ensemble.run(ensemble.start(N_SERIES), panel, RATES)
    rows = verdict_rows(judged, ensemble.name, "1d", NOW)
    first = rows[rows["symbol"] == "S0"].reset_index(drop=True)
    assert (first["verdict"][:281] == "undecided").all()
    assert (first["verdict"][281:] != "undecided").all()
    assert first["bars_lacking"][:281].tolist() == list(range(281, 0, -1))
    assert (first["bars_lacking"][281:] == 0).all()


def test_a_frozen_price_is_no_anomaly_and_no_crash():
    """A halted instrument has no volatility; its first tick after that is large but finite."""
    panel = candle_panel(n_series=1)
    panel.fields[0, 300:308, :4] = panel.fields[0, 299, 3]
    ensemble = Ensemble(("volatility_zscore",), 4)
    _, judged = ensemble.run(ensemble.start(1), panel, RATES[:1])
    scores = judged.score[0, 0]
    assert np.isfinite(scores[31:]).all()
    assert (scores[300:308] == 0).all()
    assert not judged.is_anomaly[0, 300:308].any()
    assert 0 < scores[308] < np.inf


@pytest.mark.parametrize("seed", range(3))
def test_volatility_units_agree_with_the_slow_twin(seed):
    """The compiled scan is the formula."""
    x = 0.01 * np.random.default_rng(seed).standard_t(4, 300)
    _, z, _ = VolatilityUnits().run(VolatilityUnits().start(1), x[None])
    np.testing.assert_allclose(z[0], naive.volatility_units(x), rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_the_base_rule_agrees_with_the_slow_twin(seed):
    """Close - open, Tukey fences, mean and population deviation, as the base system has them."""
    x = np.random.default_rng(seed).standard_t(3, 200)
    x[50:60] = np.nan
    detector = DETECTORS["amplitude_zscore"]
    scores = detector.fit(x[:, None][None]).score(x[None, :, None])
    np.testing.assert_allclose(scores[0], naive.amplitude_zscore(x), rtol=1e-9)


def test_the_base_rule_alone_alerts_beyond_three_deviations():
    """Selected as the only judge it decides by its own rule, not by the budget."""
    ensemble, panel = Ensemble(("amplitude_zscore",), 4), candle_panel()
    assert not ensemble.keeps_budget
    _, judged = ensemble.run(ensemble.start(N_SERIES), panel, RATES)
    amplitude = panel.field("close") - panel.field("open")
    expected = np.stack([naive.amplitude_zscore(x) for x in amplitude]) > 3
    assert expected.any()
    np.testing.assert_array_equal(judged.is_anomaly, expected)


def test_a_normal_p_value_is_never_zero():
    """Forty deviations away is rare, not impossible."""
    rule = NormalRule()
    _, p, _ = rule.run(rule.start(1), np.array([[0.0, 1.959963984540054, 3.0, 40.0, 1e6, np.nan]]))
    np.testing.assert_allclose(p[0, :3], [1, 0.05, 0.0026998], rtol=1e-4)
    assert (p[0, 3:5] > 0).all()
    assert np.isnan(p[0, 5])
    assert two_sided(0.0) == 1


@pytest.mark.parametrize("budget", [2.0, 4.0, 12.0])
def test_the_realised_rate_on_null_data_is_the_stated_one(budget):
    """On data without anomalies each instrument alerts as often as it was told to."""
    random = np.random.default_rng(11)
    n_series, n_bars = 20, 5000
    scores = np.abs(random.standard_t(4, (n_series, n_bars)))
    regime = np.repeat(random.integers(0, 3, (n_series, n_bars // 50)), 50, axis=1)
    calibration, keeper = Reference(n_regimes=3), KeptRate()
    _, p, _ = calibration.run(calibration.start(n_series), scores, regime)
    rates = np.full(n_series, budget / 252)
    _, alert, _ = keeper.run(keeper.start(n_series), p, rates, regime)
    decided = np.isfinite(p)
    realised = 252 * alert.sum(axis=1) / decided.sum(axis=1)
    expected = budget * decided.sum(axis=1) / 252
    assert abs(realised.mean() / budget - 1) < 0.05
    # Each instrument lies within four binomial deviations of its own budget.
    assert (np.abs(alert.sum(axis=1) - expected) < 4 * np.sqrt(expected)).all()


@pytest.mark.parametrize("copies", [2, 3])
def test_a_view_entered_twice_changes_neither_the_rate_nor_the_levels(copies):
    """Repeating a view adds no vote: verdicts are the same to the last bit."""
    panel = candle_panel(n_bars=700, with_market=True)
    found = []
    for names in (ENSEMBLE, (*ENSEMBLE, *["gmm"] * (copies - 1))):
        ensemble = Ensemble(names, 12)
        _, judged = ensemble.run(ensemble.start(N_SERIES), panel, RATES * 3)
        found.append(judged)
    once, twice = found
    assert once.is_anomaly.any()
    for name in ("agreed_p", "rate", "is_anomaly", "level", "votes", "voters"):
        np.testing.assert_array_equal(getattr(twice, name), getattr(once, name))
    rows = score_rows(twice, (*ENSEMBLE, *["gmm"] * (copies - 1)), "1d", NOW)
    assert not rows.duplicated(["symbol", "ts", "detector"]).any()


def test_levels_count_votes_and_what_is_told_has_its_quorum():
    """LOW is recorded and not told; told bars are MEDIUM or HIGH; HIGH alone at a quorum of 3."""
    panel = candle_panel(n_series=8, n_bars=1500, with_market=True)
    rates = np.full(8, 12 / 252)
    for quorum in (2, 3):
        ensemble = Ensemble(ENSEMBLE, 12, quorum)
        _, judged = ensemble.run(ensemble.start(8), panel, rates)
        assert set(np.unique(judged.level)) == {0, 1, 2, 3}
        np.testing.assert_array_equal(
            judged.is_anomaly, (judged.level >= quorum) & np.isfinite(judged.agreed_p)
        )
    told = judged.level > 0
    weight_of_level = np.minimum(judged.level, 3)
    assert (judged.votes[told] >= weight_of_level[told]).all()
    assert (judged.votes[~told] == 0).all()
    assert Ensemble(ENSEMBLE, 12, 3).name != Ensemble(ENSEMBLE, 12).name
    assert Ensemble(ENSEMBLE, 12, 3).fingerprint != Ensemble(ENSEMBLE, 12).fingerprint


def test_an_interval_says_how_often_models_are_fitted():
    """Once a day of minutes; a state with other fits is another judge's."""
    of_minutes = Ensemble(ENSEMBLE, 12, refit_every=1440)
    assert of_minutes.fingerprint != Ensemble(ENSEMBLE, 12).fingerprint
    for interval, every in (("1d", 250), ("1m", 1440)):
        chosen = Settings(_env_file=None, source="binance", interval=interval)
        _, ensemble = judge_of(chosen, open_source("binance"), ("BTCUSDT",))
        assert ensemble.refit_every == every


def test_the_default_judge_needs_341_bars():
    """A close, 30 for the scales, 120 to learn, 60 ranks, 30 to compare views, 100 votes."""
    panel = candle_panel(with_market=True)
    ensemble = Ensemble(ENSEMBLE, 4)
    assert ensemble.bars_before_verdict == 341
    _, judged = ensemble.run(ensemble.start(N_SERIES), panel, RATES)
    rows = verdict_rows(judged, ensemble.name, "1d", NOW)
    first = rows[rows["symbol"] == "S0"].reset_index(drop=True)
    assert (first["verdict"][:341] == "undecided").all()
    assert (first["verdict"][341:] != "undecided").all()
    assert first["state"].tolist() == ["warm-up"] * 341 + ["live"] * (N_BARS - 341)
    assert first["bars_lacking"][:341].tolist() == list(range(341, 0, -1))


def test_a_stale_instrument_is_not_judged_and_remembers_nothing():
    """After a hundred flat bars the first real ones are compared with the life before."""
    panel = candle_panel(n_series=1, n_bars=900)
    lively = Ensemble(ENSEMBLE, 4)
    panel.fields[0, 600:700, :4] = panel.fields[0, 599, 3]
    state, judged = lively.run(lively.start(1), panel, RATES[:1])
    rows = verdict_rows(judged, lively.name, "1d", NOW)
    stale = rows["state"] == "stale"
    assert np.flatnonzero(stale).tolist() == list(range(609, 710))
    assert (rows["verdict"][stale] == "undecided").all()
    assert (rows["bars_lacking"][stale] == 0).all()
    assert np.isnan(judged.p[:, 0, 620:700]).all()
    assert judged.is_anomaly[0, 600:720].sum() <= 2
    assert state["past.n"][0] == 900 - 31 - stale.sum()


def test_the_market_part_and_the_rest_make_the_return():
    """The market's share and the instrument's own add up; without a market both are unknown."""
    panel = candle_panel(with_market=True)
    panel.fields[1, :, FIELDS.index("market")] = np.nan
    ensemble = Ensemble(ENSEMBLE, 4)
    _, judged = ensemble.run(ensemble.start(N_SERIES), panel, RATES)
    assert np.isfinite(judged.market_part[[0, 2], 1:]).all()
    assert np.isnan(judged.market_part[1]).all()
    assert np.isnan(judged.residual_p[1]).all()
    assert np.isfinite(judged.agreed_p[1, 341:]).all()


def test_rows_pack_into_a_panel_and_verdicts_come_back_in_order():
    """Series of different length end in the same column; padding gives no verdict."""
    panel = candle_panel(n_series=2, n_bars=5)
    rows = pd.DataFrame(
        {
            "symbol": ["S1"] * 2 + ["S0"] * 5,
            "ts": pd.DatetimeIndex([*panel.ts[1, [4, 3]], *panel.ts[0]], tz="UTC"),
            **{
                f: [*panel.fields[1, [4, 3], j], *panel.fields[0, :, j]]
                for j, f in enumerate(FIELDS)
            },
        }
    )
    packed = pack(rows, ("S0", "S1"))
    assert packed.is_bar.sum(axis=1).tolist() == [5, 2]
    np.testing.assert_array_equal(packed.fields[1, 3:], panel.fields[1, 3:])
    ensemble = Ensemble(("volatility_zscore",), 4)
    _, judged = ensemble.run(ensemble.start(2), packed, RATES[:2])
    verdicts = verdict_rows(judged, ensemble.name, "1d", NOW)
    assert verdicts["symbol"].tolist() == ["S0"] * 5 + ["S1"] * 2
    assert verdicts["return"].isna().tolist() == [True, *[False] * 4, True, False]
    assert len(score_rows(judged, ensemble.detectors, "1d", NOW)) == 0


def test_a_snapshot_keeps_state_by_name():
    """State follows its instrument whatever the order, and through the Arrow file."""
    whole = Snapshot(
        ("B", "A", "C"), {"n": np.array([2, 1, 3]), "m": np.array([[2.0], [1.0], [3.0]])}
    )
    assert whole.take(("C", "A")).state["n"].tolist() == [3, 1]
    assert from_arrow(to_arrow(whole)).state["m"].tolist() == [[2.0], [1.0], [3.0]]
    assert from_arrow(to_arrow(whole)).symbols == whole.symbols
    assert to_arrow(whole) == to_arrow(whole)


def test_a_budget_that_history_cannot_resolve_is_refused_with_both_numbers():
    """Fewer than one a year are not kept; of more than every other bar none says anything."""
    for asked in (0.01, 0.5, 200):
        with pytest.raises(SettingsError, match=r"keeps 0\.004 to 0\.5\. Ask for 1 to 126 "):
            Ensemble(ENSEMBLE, asked).require_resolvable(252)
    Ensemble(ENSEMBLE, 1).require_resolvable(252)
    Ensemble(("amplitude_zscore",), 0.01).require_resolvable(252)


def test_an_unknown_detector_is_named_with_the_known_ones():
    """The error lists what there is; a quorum that cannot be met is refused."""
    with pytest.raises(UnknownName, match="volatility_zscore"):
        Ensemble(("zscore",), 4)
    with pytest.raises(SettingsError, match="3 votes cannot be cast by 2"):
        Ensemble(("knn", "gmm"), 4, 3)
    with pytest.raises(SettingsError, match="not 1, 2 or 3"):
        Ensemble(ENSEMBLE, 4, 4)
