"""Similar days and what followed them: found as one would by hand, the same on every run."""

import numpy as np
import pandas as pd
import pytest

from components.similar import (
    CHANNEL_NAMES,
    LEAST_ALIKE,
    N_ALIKE,
    N_NAMED,
    SPACING,
    alike,
    distances,
    interval,
    nearest,
)

N_BARS = 1500


def bars(n=N_BARS, seed=3):
    random = np.random.default_rng(seed)
    z = random.standard_t(4, (n, len(CHANNEL_NAMES)))
    rows = pd.DataFrame(z, columns=list(CHANNEL_NAMES))
    ts = pd.date_range("2018-01-01", periods=n, tz="UTC")
    return rows.assign(ts=ts, scale=0.01, **{"return": random.normal(0, 0.01, n)})


def by_hand(rows):
    """The places of the most similar bars, one bar at a time."""
    z = rows[list(CHANNEL_NAMES)].to_numpy()
    vectors = np.sign(z) * np.log(1 + np.abs(z))
    last, far = len(rows) - 1, []
    for at in range(last - SPACING):
        both = ~np.isnan(vectors[at]) & ~np.isnan(vectors[last])
        if both.sum() >= 2:
            difference = vectors[at][both] - vectors[last][both]
            far.append((float(np.sqrt(np.mean(difference**2))), at))
    places = []
    for _, at in sorted(far):
        if all(abs(at - other) >= SPACING for other in places):
            places.append(at)
    return places[:N_ALIKE]


@pytest.mark.parametrize("absent", [0.0, 0.3])
def test_the_similar_bars_are_those_found_by_hand(absent):
    """Nearest over the channels that both have, well before the bar and apart from each other."""
    rows = bars()
    missing = np.random.default_rng(5).random((N_BARS, len(CHANNEL_NAMES))) < absent
    missing[-1] = [True, *[False] * (len(CHANNEL_NAMES) - 1)] if absent else missing[-1]
    rows[list(CHANNEL_NAMES)] = rows[list(CHANNEL_NAMES)].mask(missing)
    found, places = alike(rows, "A"), by_hand(rows)
    assert [each.ts for each in found.named] == [
        rows["ts"][at].isoformat() for at in places[:N_NAMED]
    ]
    assert found.n_alike == len(places) == N_ALIKE
    assert [each.move for each in found.named] == list(rows["return"][places[:N_NAMED]])


def test_what_followed_is_the_mean_over_the_similar_bars():
    """Root mean square return over the volatility known before; return compounded."""
    rows = bars()
    places, r = by_hand(rows), rows["return"].to_numpy()
    for each in alike(rows, "A").followed:
        after = [r[at + 1 : at + 1 + each.n_bars] for at in places]
        volatility = np.mean([np.sqrt(np.mean(a**2)) / 0.01 for a in after])
        assert each.volatility == pytest.approx(volatility)
        assert each.move == pytest.approx(np.mean([np.prod(1 + a) - 1 for a in after]))
        assert each.volatility_low < each.volatility < each.volatility_high
        assert each.move_low < each.move < each.move_high


def test_what_followed_ends_before_the_judged_bar():
    """Neither that bar's return nor anything since enters what is said of the past."""
    rows = bars(300)
    other = rows.copy()
    other.loc[len(other) - 1, "return"] = 0.5
    assert alike(rows, "A") == alike(other, "A")


def test_the_same_bar_gives_the_same_interval_and_another_bar_another():
    """Seeded by the bar: no two runs tell different numbers."""
    rows = bars()
    assert alike(rows, "ACME 1d 2024-03-12") == alike(rows, "ACME 1d 2024-03-12")
    assert alike(rows, "A").followed != alike(rows, "B").followed


def test_the_interval_holds_the_mean_as_often_as_it_says():
    """Around 95 in 100 for independent values; a little less for so few."""
    random = np.random.default_rng(1)
    held = 0
    for _ in range(300):
        low, high = interval(random.normal(0.3, 1, (N_ALIKE, 1)), random)
        held += bool(low[0] <= 0.3 <= high[0])
    assert 0.86 <= held / 300 <= 0.98


def test_a_pattern_is_seen_when_it_is_there_and_only_then():
    """Returns that always rise after such bars have an interval without zero."""
    rows = bars()
    flat = alike(rows, "A").followed
    assert any(each.move_low <= 0 <= each.move_high for each in flat)
    rows["return"] = 0.01
    assert all(each.move_low > 0 for each in alike(rows, "A").followed)


def test_few_or_unknown_bars_are_said_to_be_few():
    """A young instrument, or one whose channels are unknown, has nothing to compare with."""
    assert alike(bars(1), "A").named == ()
    assert alike(bars(SPACING), "A").n_alike == 0
    young = alike(bars(SPACING * (LEAST_ALIKE - 2)), "A")
    assert young.named
    assert young.followed == ()
    blank = bars(300)
    blank[list(CHANNEL_NAMES)] = np.nan
    assert alike(blank, "A").n_alike == 0


def test_distances_and_spacing_leave_their_input_alone():
    """Shared arrays: nobody's history is changed."""
    z = bars(50)[list(CHANNEL_NAMES)].to_numpy()
    before = z.copy()
    far = distances(z)
    kept = far.copy()
    nearest(far)
    np.testing.assert_array_equal(z, before)
    np.testing.assert_array_equal(far, kept)
