"""The band: where a bin's value is expected, within which bounds, and whether it lies outside."""

from dataclasses import dataclass, field

import numpy as np

from components.carried import State, named, scoped
from components.conformal import Conformal
from components.forecasters import Forecaster, forecaster_named
from components.forecasters.base import BinPanel, Forecast
from components.opening import CLOSED, ENDED, HOLIDAY, LIVE, SPARSE, WARM_UP, Opening
from components.panels import Array, Flags, Ints
from components.rarity import Rarity

# Of sums and counts the power 2/3 makes the law nearly symmetric, and keeps the unit out: a
# series times a hundred has the same band times a hundred.
POWER = 2 / 3

# A busy series that is silent is told at this share of the stated rate.
SILENT = 0.5

# Who may make bands without being fitted, and is no baseline.
READY = ("slot_ewma", "ridge")


@dataclass(frozen=True)
class Banded:
    """What is told of each bin; arrays (n_series, n_bins) in the series' own unit.

    ``expected`` is the middle of the band: half of such bins end below it. NaN, as ``lower`` and
    ``upper``, where no band is told. ``p`` is the share of earlier bins that were missed by as
    much, NaN where nothing is asked. ``is_outside`` holds where the value lies outside of the
    band, or where a payment, a silence or a crowd is as rare as that; ``is_silent`` where a busy
    series has had nothing for so long that it is rarer, though 0 may lie inside of its band.
    ``standing`` is the ``Opening``'s, ``share`` the chance that the bin has a payment at all.
    """

    expected: Array
    lower: Array
    upper: Array
    p: Array
    is_outside: Flags
    is_silent: Flags
    standing: Ints
    share: Array


@dataclass(frozen=True)
class Band:
    """A forecaster made into an interval of stated coverage; a carried scan.

    Parameters
    ----------
    forecaster : Forecaster
        Works on sign(v) |v|^(2/3), v the value by usual bin length.
    miss : float
        The share of open bins that may lie outside: 1 - coverage.
    is_bare : bool
        Take the forecaster's own spreads as they are: the peers' rule, to be compared with.

    References
    ----------
    Anscombe, F. J. (1953). Contribution to the discussion of Hotelling's paper. Journal of the
    Royal Statistical Society B 15, 229-230: the power 2/3.
    """

    forecaster: Forecaster
    miss: float = 0.01
    opening: Opening = field(default_factory=Opening)
    rarity: Rarity = field(default_factory=Rarity)
    is_bare: bool = False

    @property
    def conformal(self) -> Conformal:
        """What widens the forecaster's spreads to the coverage."""
        return Conformal(self.miss)

    def start(self, n_series: int, n_day: int) -> State:
        """Nothing seen."""
        return {
            **named(self.opening.start(n_series, n_day), "opening"),
            **named(self.forecaster.start(n_series, n_day), "forecaster"),
            **named(self.conformal.start(n_series), "conformal"),
            **named(self.rarity.start(n_series, n_day), "rarity"),
        }

    def run(self, state: State, panel: BinPanel) -> tuple[State, Banded]:
        """Judge each bin by a band from the bins before it, and take it in."""
        is_signed = _signed(scoped(state, "opening"), panel.value)
        opening, share, standing = self.opening.run(scoped(state, "opening"), panel)
        x, is_open = powered(panel.value / panel.length), opened(standing)
        ahead, forecast = self.forecaster.run(scoped(state, "forecaster"), panel, x, is_open)
        error = errors(x, forecast)
        before = scoped(state, "conformal")
        conformal, below, above, p = self.conformal.run(before, error, is_open)
        below, above = self._widths(below, above)
        rarity, rare = self.rarity.run(scoped(state, "rarity"), panel, share, standing)
        after = {
            **named(opening, "opening"),
            **named(ahead, "forecaster"),
            **named(conformal, "conformal"),
            **named(rarity, "rarity"),
        }
        widened = Forecast(forecast.middle, below * forecast.below, above * forecast.above)
        expected, lower, upper = _bounds(widened, panel.length, standing, is_signed)
        is_live = standing == LIVE
        with np.errstate(invalid="ignore"):
            is_missed = is_live & ((error > above) | (error < -below))
            is_rare = ((standing == CLOSED) | (standing == SPARSE)) & (rare <= self.miss)
            is_silent = is_live & (rare <= SILENT * self.miss)
        p = np.where(is_live, np.where(is_silent, np.fmin(p, rare), p), rare)
        is_outside = is_missed | is_rare
        return after, Banded(expected, lower, upper, p, is_outside, is_silent, standing, share)

    def ahead(self, state: State, coming: BinPanel) -> Banded:
        """The bands of the bins that come next, all from what is known now."""
        share, standing = self.opening.ahead(scoped(state, "opening"), coming)
        forecast = self.forecaster.ahead(scoped(state, "forecaster"), coming, opened(standing))
        below, above = self._widths(*self.conformal.now(scoped(state, "conformal")))
        widened = Forecast(
            forecast.middle, below[:, None] * forecast.below, above[:, None] * forecast.above
        )
        is_signed = (scoped(state, "opening")["is_signed"] > 0)[:, None]
        expected, lower, upper = _bounds(
            widened, coming.length, standing, np.broadcast_to(is_signed, standing.shape)
        )
        nothing, none = np.full(standing.shape, np.nan), np.zeros(standing.shape, np.bool_)
        return Banded(expected, lower, upper, nothing, none, none, standing, share)

    def _widths(self, below: Array, above: Array) -> tuple[Array, Array]:
        if self.is_bare:
            return np.ones_like(below), np.ones_like(above)
        return below, above


def warm() -> None:
    """Compile the scans of a band, so that an image holds them ready."""
    for name in READY:
        band = Band(forecaster_named(name))
        panel = BinPanel(
            np.zeros((1, 1)), np.zeros(1, int), np.zeros(1, int), np.ones(1), np.zeros(1, bool), 1
        )
        for is_read in (False, True):
            # A snapshot that was read cannot be written to: to the compiler another kind of array.
            state = band.start(1, 1)
            for a in state.values():
                a.flags.writeable = not is_read
            band.ahead(band.run(state, panel)[0], panel)


def opened(standing: Ints) -> Flags:
    """Where payments are expected, whatever else is told of the bin."""
    found: Flags = (standing == LIVE) | (standing == WARM_UP) | (standing == SPARSE)
    return found


def powered(value: Array) -> Array:
    """Values as forecasters take them: sign(v) |v|^(2/3)."""
    found: Array = np.sign(value) * np.abs(value) ** POWER
    return found


def restored(x: Array) -> Array:
    """``powered`` undone."""
    found: Array = np.sign(x) * np.abs(x) ** (1 / POWER)
    return found


def errors(x: Array, forecast: Forecast) -> Array:
    """How far values lie from their forecast, in usual errors of that side; NaN where unknown.

    Above it they are positive.
    """
    miss = x - forecast.middle
    side = np.where(miss < 0, forecast.below, forecast.above)
    found: Array = np.divide(miss, side, out=np.full(x.shape, np.nan), where=side > 0)
    return found


def _signed(opening: State, value: Array) -> Flags:
    """Whether a series had refunds beyond its payments before each bin."""
    before = np.concatenate([(opening["is_signed"] > 0)[:, None], value[:, :-1] < 0], axis=1)
    found: Flags = np.logical_or.accumulate(before, axis=1)
    return found


def _bounds(
    forecast: Forecast, length: Array, standing: Ints, is_signed: Flags
) -> tuple[Array, Array, Array]:
    expected = restored(forecast.middle) * length
    lower = restored(forecast.middle - forecast.below) * length
    upper = restored(forecast.middle + forecast.above) * length
    least = np.where(is_signed, -np.inf, 0.0)
    expected, lower, upper = (np.maximum(a, least) for a in (expected, lower, upper))
    has_band = (standing == LIVE) | (standing == WARM_UP)
    # Nothing is expected while a series is closed; of the others nothing is told.
    nothing = np.where(
        (standing == CLOSED) | (standing == HOLIDAY) | (standing == ENDED), 0, np.nan
    )
    is_told = has_band & np.isfinite(lower) & np.isfinite(upper)
    whole = tuple(np.where(is_told, a, nothing) for a in (expected, lower, upper))
    return whole[0], whole[1], whole[2]
