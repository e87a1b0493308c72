"""A contest at one alarm rate, and what promotion asks of who wins it."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest

from components.ensemble import Ensemble
from components.errors import NotEnoughBars
from components.evaluation import Trials
from components.evaluation import contest as contests
from components.evaluation.contest import Contest, Estimate, at_the_rate, contest
from components.promotion import (
    CHALLENGER,
    CHAMPION,
    LEAST_DISTINCT,
    PLAIN,
    TWIN,
    conditions,
    distinct,
)
from components.sessions import Calendars
from tests.markets_made import market, unseen

BUDGET = 6.0
SINCE = pd.Timestamp("2019-04-01", tz="UTC")


@pytest.fixture(scope="module")
def candles():
    return market(8, 1400)


@pytest.fixture(scope="module")
def held(candles):
    """A mixture of the own past, the plain z-score, and the mixture again."""
    judges = {
        CHALLENGER: Ensemble(("gmm",), BUDGET, 1),
        PLAIN: Ensemble((PLAIN,), BUDGET, 1),
        "the same": Ensemble(("gmm",), BUDGET, 1),
    }
    return contest(judges, candles, Trials(Calendars(), rounds=2), SINCE, unseen)


def test_whoever_is_the_same_leads_by_nothing(held):
    """Paired plant by plant: two equal methods differ on none."""
    assert held.leads["the same"] == Estimate(0.0, 0.0, 0.0)
    assert held.figures["the same"] == held.figures[CHALLENGER]


def test_a_lead_is_the_difference_of_recalls_within_its_interval(held):
    """And it is sure here: volumes go with moves, and the plain rule looks at moves alone."""
    lead = held.leads[PLAIN]
    recalls = [held.figures[name]["recall"] for name in (CHALLENGER, PLAIN)]
    assert lead.mean == pytest.approx(recalls[0] - recalls[1])
    assert lead.low < lead.mean < lead.high
    assert lead.low > 0


def test_only_held_out_bars_count(held, candles):
    """What came before the cut is no one's merit."""
    assert held.since == SINCE
    told = held.told[PLAIN]
    stamps = told.ts[told.is_decided]
    assert stamps.min() >= np.datetime64("2019-04-01")
    assert held.n_bars == len(stamps)
    n_held_out = int((candles["ts"] >= SINCE).sum())
    assert 0.9 * n_held_out < held.n_bars <= n_held_out


def test_shares_of_kinds_have_intervals_that_hold_them(held):
    """Of all plants together and of each kind."""
    for name, figures in held.figures.items():
        shares = held.shares[name]
        assert shares[""].mean == pytest.approx(figures["recall"])
        for kind, recall in figures["by_kind"].items():
            assert shares[kind].mean == pytest.approx(recall)
        for share in shares.values():
            assert 0 <= share.low <= share.mean <= share.high <= 1
        widest = max(share.high - share.low for share in shares.values())
        assert shares[""].high - shares[""].low < widest


def test_at_the_rate_is_the_stated_number_of_alerts(held):
    """Of the bars of most surprise, whatever rule the method has of its own."""
    told = held.told[PLAIN]
    ranked = at_the_rate(told)
    stated = told.alerts_per_bar() @ told.is_decided.sum(axis=1)
    assert ranked.is_alert.sum() == pytest.approx(stated, abs=1)
    least = told.surprise[ranked.is_alert].min()
    assert least > told.surprise[told.is_decided & ~ranked.is_alert].max()


def test_spans_are_the_longest_of_which_there_are_many():
    """Months of years, weeks of months, days of weeks: a month of minutes is not one draw."""

    def n_spans(n_days):
        ts = pd.Series(pd.date_range("2024-01-01", periods=24 * n_days, freq="h", tz="UTC"))
        return contests._spans(ts).max() + 1

    assert n_spans(365 * 3) == 36
    assert n_spans(280) == 41
    assert n_spans(30) == 30
    assert n_spans(3) == 3


def test_a_few_days_of_short_bars_decide_nothing(candles):
    """However many plants they hold: what is odd on one day is odd all day."""
    judges = {CHALLENGER: Ensemble((PLAIN,), 288 * BUDGET, 1)}
    first = candles["ts"].min()
    squeezed = candles.assign(ts=(first + (candles["ts"] - first) / 288).dt.as_unit("us"))
    trials = Trials(Calendars(), interval="5m", rounds=2)
    with pytest.raises(NotEnoughBars, match="held-out time.*--share"):
        contest(judges, squeezed, trials, first + pd.Timedelta(days=1), unseen)


@dataclass(frozen=True)
class Eager(Ensemble):
    """A judge that calls everything a hundred times as unusual as it is, some bars by the die."""

    is_blind: bool = False

    def run(self, state, panel, rates):
        """Judge, and exaggerate."""
        after, judged = super().run(state, panel, rates)
        p = judged.agreed_p
        if self.is_blind:
            die = np.random.default_rng(3).random(p.shape)
            p = np.where(np.isnan(p), np.nan, die)
        return after, replace(judged, agreed_p=p / 100, score=np.zeros_like(judged.score))


def test_who_alerts_more_gains_nothing(candles):
    """Each method's threshold is set to the same number of alerts outside of the plants.

    One that exaggerates a hundredfold finds what it would find soberly, but for ties that its
    scores no longer break; one that throws a die finds what chance finds at that rate.
    """
    judges = {
        CHALLENGER: Ensemble((PLAIN,), BUDGET, 1),
        "eager": Eager((PLAIN,), BUDGET, 1),
        "blind": Eager((PLAIN,), BUDGET, 1, is_blind=True),
    }
    found = contest(judges, candles, Trials(Calendars(), rounds=2), SINCE, unseen)
    assert found.figures["eager"]["recall"] == pytest.approx(
        found.figures[CHALLENGER]["recall"], abs=0.03
    )
    # A plant is open for some three to ten bars, each alerting with the stated probability.
    assert found.figures["blind"]["recall"] < 10 * BUDGET / 365 + 0.03
    assert found.leads["blind"].low > 0.2


def test_the_same_seed_gives_the_same_contest_and_another_one_other_plants(candles, held):
    """Nothing is drawn from a clock."""
    judges = {CHALLENGER: Ensemble((PLAIN,), BUDGET, 1), "the same": Ensemble((PLAIN,), BUDGET, 1)}
    one, two, other = (
        contest(judges, candles, Trials(Calendars(), seed=seed), SINCE, unseen).figures
        for seed in (0, 0, 1)
    )
    assert one == two
    assert one[CHALLENGER]["by_kind"] != other[CHALLENGER]["by_kind"]
    assert one[CHALLENGER]["realised"] == held.figures[PLAIN]["realised"]


def test_too_few_plants_decide_nothing(candles):
    """Said with both numbers, before anybody is called better."""
    judges = {CHALLENGER: Ensemble((PLAIN,), BUDGET, 1)}
    short = candles[candles["ts"] < SINCE + pd.Timedelta(days=120)]
    with pytest.raises(NotEnoughBars, match=r"held-out time.*got \d+.*--rounds"):
        contest(judges, short, Trials(Calendars()), SINCE, unseen)


# What promotion asks.


def outcome(*, recall=0.7, realised=4.0, **leads):
    """A contest as it could have come out; leads by name as (mean, low, high)."""
    names = {"plain": PLAIN, "twin": TWIN, "champion": CHAMPION}
    found = {"recall": recall, "realised": realised, "by_kind": {}, "delay_bars": 0.0}
    return Contest(
        since=SINCE,
        last=SINCE,
        n_plants=500,
        n_bars=70_000,
        alerts_per_year=4.0,
        figures={CHALLENGER: found, **{names[n]: {**found, "recall": 0.6} for n in leads}},
        told={},
        leads={names[name]: Estimate(*lead) for name, lead in leads.items()},
    )


CLEAR, UNSURE = (0.1, 0.05, 0.15), (0.1, -0.01, 0.2)


def refused(held, diversity=1.0):
    return [each.name for each in conditions(held, diversity) if not each.is_met]


def test_a_clear_lead_over_everybody_is_enough():
    """And the words hold the figures that it was decided by."""
    held = outcome(plain=CLEAR, twin=CLEAR, champion=CLEAR)
    assert refused(held) == []
    words = " ".join(each.words for each in conditions(held, 1.0))
    for figure in ("70.0%", "60.0%", "500 planted", "+10.0% [+5.0%, +15.0%]", "4.00 alerts"):
        assert figure in words


@pytest.mark.parametrize("name", ["plain", "twin", "champion"])
def test_a_lead_whose_interval_holds_zero_is_not_enough(name):
    """Each of the three has to be beaten surely."""
    leads = {"plain": CLEAR, "twin": CLEAR, "champion": CLEAR, name: UNSURE}
    names = {"plain": PLAIN, "twin": TWIN, "champion": CHAMPION}
    assert refused(outcome(**leads)) == [f"beats the {names[name]}"]


def test_without_a_champion_there_is_none_to_beat():
    """The first model has the plain rule and its twin to beat."""
    assert len(conditions(outcome(plain=CLEAR, twin=CLEAR), 1.0)) == 4


@pytest.mark.parametrize("realised", [1.9, 6.1, float("nan")])
def test_a_rate_that_is_not_kept_is_refused(realised):
    """Between half and one and a half of what was stated, with the model judging alone."""
    held = outcome(realised=realised, plain=CLEAR, twin=CLEAR)
    assert refused(held) == ["keeps the rate"]


@pytest.mark.parametrize("diversity", [0.0, LEAST_DISTINCT - 0.01, float("nan")])
def test_scores_that_hardly_differ_are_refused(diversity):
    """A dead model alerts at the stated rate and beats no one by luck for long."""
    assert refused(outcome(plain=CLEAR, twin=CLEAR), diversity) == ["tells bars apart"]


def test_how_many_scores_differ():
    """Ties and NaN do not count as telling apart."""
    assert distinct(np.array([1.0, 2.0, 3.0, np.nan])) == 1.0
    assert distinct(np.array([1.0, 1.0, 1.0, 2.0])) == 0.5
    assert np.isnan(distinct(np.full(3, np.nan)))
