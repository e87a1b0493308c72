"""Features of the volume that remember: in money, and by the time of the day and of the week."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numba import njit

from components.carried import State
from components.features.channels import Channelled, unsplit_volume
from components.features.level import LevelUnits
from components.panels import Array, CandlePanel, Flags, Ints

# In microseconds, as ``ts`` is.
DAY = 86_400_000_000
SLOT = DAY // 48

# 1970-01-01 was a Thursday; weeks begin on Monday.
FIRST_WEEKDAY = 3


@dataclass(frozen=True)
class DollarVolume:
    """ln(close x volume) in level units: distance from its recent level; a carried scan.

    The money of a bar is the same in old shares and new ones. NaN while stale and where nothing
    was traded; these change nothing.
    """

    levels: LevelUnits = field(default_factory=LevelUnits)

    def start(self, n_series: int) -> State:
        """The state before the first bar."""
        return self.levels.start(n_series)

    def run(
        self,
        state: State,
        panel: CandlePanel,
        channelled: Channelled,
        columns: Mapping[str, Array],  # noqa: ARG002 - as every scan
    ) -> tuple[State, Array]:
        """Scan a panel."""
        money = panel.field("close") * panel.field("volume")
        is_live = (money > 0) & ~channelled.is_stale
        return self.levels.run(state, np.log(np.where(is_live, money, np.nan)))


@dataclass(frozen=True)
class AdjustedVolume:
    r"""ln volume less what is usual at this time of the day and on this day of the week; a scan.

    .. math:: a_t = \ln V_t - m_{slot} - w_{weekday}

    m is an exponentially weighted mean over earlier days of the slot's mean ln V, known once the
    slot was traded on ``least_days`` days; w is one over earlier weeks of the day's mean
    ln V - m, 0 until the weekday was seen ``least_weeks`` times. So a minute bar is known after
    some days, not weeks, and a Sunday is not odd for being one. What is compared with never
    holds a bar of the same day.

    Slots are half hours. Where markets never close they are those of the UTC day; elsewhere they
    count from the half hour of the day's first bar, for an exchange opens by a clock that summer
    time moves against UTC. Days and weekdays are UTC's. A bar of a day has one slot alone, so
    there the feature tells a day from its recent level and its weekday.

    Parameters
    ----------
    by_day, by_week : float
        Decay a day of m, a week of w: 0.9 looks back about 10 days, 0.8 about 5 weeks.
    least_days, least_weeks : int
        Earlier days of a slot, and weeks of a weekday, that are needed.
    """

    by_day: float = 0.9
    by_week: float = 0.8
    least_days: int = 4
    least_weeks: int = 2

    def start(self, n_series: int) -> State:
        """The state before the first bar: means, and the sums of the open slot and day."""
        return {
            "slot_mean": np.zeros((n_series, DAY // SLOT)),
            "slot_days": np.zeros((n_series, DAY // SLOT), dtype=np.int64),
            "weekday_mean": np.zeros((n_series, 7)),
            "weekday_weeks": np.zeros((n_series, 7), dtype=np.int64),
            "sums": np.zeros((n_series, 4)),
            "at": np.full((n_series, 3), -1, dtype=np.int64),
            "shares": np.ones(n_series),
        }

    def run(
        self,
        state: State,
        panel: CandlePanel,
        channelled: Channelled,
        columns: Mapping[str, Array],  # noqa: ARG002 - as every scan
    ) -> tuple[State, Array]:
        """Scan a panel."""
        after = {name: array.copy() for name, array in state.items()}
        shares, volume = unsplit_volume(panel, state["shares"].astype(float))
        after["shares"] = np.where(panel.is_bar.any(axis=1), shares, state["shares"])
        is_live = (volume > 0) & ~channelled.is_stale
        x = np.log(np.where(is_live, volume, np.nan))
        stamps = panel.ts.astype("datetime64[us]").astype(np.int64)
        means = (after["slot_mean"], after["weekday_mean"])
        counts = (after["slot_days"], after["weekday_weeks"])
        running = (after["sums"], after["at"])
        value = np.full(x.shape, np.nan)
        numbers = (self.by_day, self.by_week, self.least_days, self.least_weeks)
        bars = (x, stamps, panel.is_bar, panel.is_session)
        _scan(bars, means, counts, running, value, numbers)
        return after, value


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _scan(
    bars: tuple[Array, Ints, Flags, Flags],
    means: tuple[Array, Array],
    counts: tuple[Ints, Ints],
    running: tuple[Array, Ints],
    value: Array,
    numbers: tuple[float, float, int, int],
) -> None:
    x, stamps, is_bar, is_session = bars
    (slot_mean, weekday_mean), (slot_days, weekday_weeks) = means, counts
    by_day, by_week, least_days, least_weeks = numbers
    for i in range(x.shape[0]):
        # The open slot's sum and count, those of the open day's rest; the day, where its slots
        # begin, and the open slot.
        sums, at = running[0][i], running[1][i]
        for t in range(x.shape[1]):
            if not is_bar[i, t]:
                continue
            day = stamps[i, t] // DAY
            if day != at[0]:
                _close(sums, 0, slot_mean[i], slot_days[i], at[2], by_day)
                weekday = (at[0] + FIRST_WEEKDAY) % 7
                _close(sums, 2, weekday_mean[i], weekday_weeks[i], weekday, by_week)
                begins = stamps[i, t] // SLOT * SLOT if is_session[i] else day * DAY
                at[0], at[1], at[2] = day, begins, -1
            slot = (stamps[i, t] - at[1]) // SLOT
            if slot != at[2]:
                _close(sums, 0, slot_mean[i], slot_days[i], at[2], by_day)
                at[2] = slot
            if np.isnan(x[i, t]):
                continue
            if slot_days[i, slot] >= least_days:
                rest = x[i, t] - slot_mean[i, slot]
                weekday = (day + FIRST_WEEKDAY) % 7
                known = weekday_weeks[i, weekday] >= least_weeks
                value[i, t] = rest - (weekday_mean[i, weekday] if known else 0.0)
                sums[2] += rest
                sums[3] += 1
            sums[0] += x[i, t]
            sums[1] += 1


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _close(sums: Array, first: int, means: Array, counts: Ints, place: int, decay: float) -> None:
    """Let the mean of what was summed enter the mean of its place."""
    if sums[first + 1] > 0:
        error = sums[first] / sums[first + 1] - means[place]
        means[place] += max(1 - decay, 1 / (counts[place] + 1)) * error
        counts[place] += 1
    sums[first], sums[first + 1] = 0.0, 0.0
