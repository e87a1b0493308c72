"""Gradient-boosted quantiles of what the means leave: one forest for all series."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from numba import njit

from components.carried import State, named, scoped
from components.errors import NotEnoughBars
from components.forecasters.base import LEAST_SIDE, QUANTILES, BinPanel, Forecast
from components.forecasters.ridge import N_LAGS, cut, lagged, put
from components.forecasters.slot_ewma import SlotEwma
from components.forecasters.spread import CAP, KEPT, LEAST, widened
from components.panels import Array, Flags, Ints

# Rests before (seven of them), means, spread of the hour, hour of the day, day of the week.
N_FEATURES = N_LAGS + 4

# Of the distance between the outer quantiles and the middle, a usual error: 1 / 1.645, as were
# it normal.
TYPICAL = 0.608

# Days of open bins that the longest series needs: two weeks.
LEAST_DAYS = 14

PARTS = ("children", "feature", "threshold", "value", "begin")

# Trees split 32-bit floats; predictions follow.
Singles = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Boosted:
    r"""Recipe of ``BoostedTrees``: three forests of shallow trees, one a quantile.

    They learn :math:`r_t / s_t`, with r what ``SlotEwma``'s means leave and s the series' usual
    r, from what was left before (as ``Ridge``), over s; means and spread of the hour, over s;
    the hour, the day of the week. Nothing of it has a unit, so that series large and small
    teach one forest.

    Parameters
    ----------
    slots : SlotEwma
        Gives the means.
    n_trees, depth : int
        Of each quantile.
    rate : float
        What each tree adds of its own.
    most_rows : int
        Bins learned from, drawn with a fixed seed.

    References
    ----------
    Friedman, J. H. (2001). Greedy function approximation: a gradient boosting machine. Annals
    of Statistics 29, 1189-1232. Koenker, R. and Bassett, G. (1978). Regression quantiles.
    Econometrica 46, 33-50. Grown by scikit-learn, seeded.
    """

    slots: SlotEwma = field(default_factory=SlotEwma)
    n_trees: int = 60
    depth: int = 3
    rate: float = 0.1
    most_rows: int = 20_000

    @property
    def name(self) -> str:
        """As the registry has it."""
        return "boosted"

    def fit(self, panel: BinPanel, x: Array, is_open: Flags) -> "BoostedTrees":
        """Grow the trees on the bins of all series.

        Raises
        ------
        NotEnoughBars
            When no series has two weeks of open bins behind the first ones.
        """
        features, target, longest = self._rows(panel, x, is_open)
        if longest < LEAST_DAYS * panel.n_day:
            raise NotEnoughBars(
                "Boosted", LEAST_DAYS * panel.n_day, longest, "choose another forecaster"
            )
        forests = [self._grown(features, target, alpha) for alpha in QUANTILES]
        parts = {part: np.stack([one[part] for one in forests]) for part in PARTS}
        return self._fitted(parts)

    def restore(self, arrays: Mapping[str, npt.NDArray[np.generic]]) -> "BoostedTrees":
        """The fitted forecaster with these numbers.

        Raises
        ------
        ValueError
            Arrays of other shapes, a node that leads nowhere or back, a feature that there is
            not, numbers that are not finite.
        """
        if missing := [name for name in PARTS if name not in arrays]:
            raise ValueError(f"boosted trees without {', '.join(missing)}")
        feature, children = arrays["feature"], arrays["children"]
        if feature.ndim != 3 or len(feature) != len(QUANTILES) or not feature.shape[2]:
            raise ValueError("boosted trees are of three quantiles: (3, n_trees, n_nodes)")
        if not feature.shape == arrays["threshold"].shape == arrays["value"].shape:
            raise ValueError("boosted trees whose nodes lack a threshold or a value")
        if children.shape != (*feature.shape, 2) or arrays["begin"].shape != (len(QUANTILES),):
            raise ValueError("boosted trees whose nodes lack children, or that lack a beginning")
        found = self._fitted(arrays)
        _check(found)
        return found

    def _fitted(self, arrays: Mapping[str, npt.NDArray[np.generic]]) -> "BoostedTrees":
        return BoostedTrees(
            children=arrays["children"].astype(np.int64),
            feature=arrays["feature"].astype(np.int64),
            threshold=arrays["threshold"].astype(float),
            value=arrays["value"].astype(float),
            begin=arrays["begin"].astype(float),
            slots=self.slots,
        )

    def _rows(self, panel: BinPanel, x: Array, is_open: Flags) -> tuple[Singles, Array, int]:
        """Features, what they are to tell, and how many bins the longest series gives."""
        memory = _Memory(self.slots)
        state = memory.start(panel.n_series, panel.n_day)
        _, features, base, scale = memory.run(state, panel, x, is_open)
        rest = (x - base) / scale
        is_whole = is_open & np.isfinite(rest) & np.isfinite(features).all(axis=2)
        at = np.flatnonzero(is_whole)
        if len(at) > self.most_rows:
            at = np.sort(np.random.default_rng(0).choice(at, self.most_rows, replace=False))
        longest = int(is_whole.sum(axis=1).max(initial=0))
        return features.reshape(-1, N_FEATURES)[at], rest.reshape(-1)[at], longest

    def _grown(
        self, features: Singles, target: Array, alpha: float
    ) -> dict[str, npt.NDArray[np.generic]]:
        from sklearn.ensemble import GradientBoostingRegressor

        grown = GradientBoostingRegressor(
            loss="quantile",
            alpha=alpha,
            n_estimators=self.n_trees,
            max_depth=self.depth,
            learning_rate=self.rate,
            min_samples_leaf=max(1, min(20, len(target) // 50)),
            subsample=0.5,
            random_state=0,
        ).fit(features, target)
        shape = (self.n_trees, 2 ** (self.depth + 1) - 1)
        children = np.full((*shape, 2), -1, dtype=np.int64)
        feature = np.full(shape, -1, dtype=np.int64)
        threshold, value = np.zeros(shape), np.zeros(shape)
        for i, tree in enumerate(each.tree_ for each in grown.estimators_[:, 0]):
            m, is_leaf = tree.node_count, tree.children_left < 0
            children[i, :m, 0], children[i, :m, 1] = tree.children_left, tree.children_right
            feature[i, :m] = np.where(is_leaf, -1, tree.feature)
            threshold[i, :m] = np.where(is_leaf, 0.0, tree.threshold)
            value[i, :m] = np.where(is_leaf, self.rate * tree.value[:, 0, 0], 0.0)
        begin = np.ravel(grown.init_.constant_)[0]
        return dict(zip(PARTS, (children, feature, threshold, value, begin), strict=True))


def _check(trees: "BoostedTrees") -> None:
    n_nodes = trees.feature.shape[2]
    is_inner = trees.feature >= 0
    forward = trees.children > np.arange(n_nodes)[:, None]
    if not (forward & (trees.children < n_nodes))[is_inner].all():
        raise ValueError("boosted trees whose nodes lead nowhere")
    if trees.feature.max(initial=-1) >= N_FEATURES:
        raise ValueError("boosted trees that ask for more features than there are")
    if not all(np.isfinite(a).all() for a in (trees.threshold, trees.value, trees.begin)):
        raise ValueError("boosted trees with numbers that are not finite")


@dataclass(frozen=True)
class BoostedTrees:
    r"""Quantiles of the rest, by grown trees.

    .. math:: \hat x_t = b_t + s_t q_{0.5}, \quad below = s_t (q_{0.5} - q_{0.05}), \quad
        above = s_t (q_{0.95} - q_{0.5})

    ``children`` (3, n_trees, n_nodes, 2), -1 in leaves; ``feature`` (3, n_trees, n_nodes), -1 in
    leaves; ``threshold`` and ``value`` of the same shape, values in leaves alone; ``begin`` (3,),
    what the trees add to.
    """

    children: Ints
    feature: Ints
    threshold: Array
    value: Array
    begin: Array
    slots: SlotEwma = field(default_factory=SlotEwma)

    @property
    def name(self) -> str:
        """As the registry has it."""
        return "boosted"

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Children, features, thresholds, values, beginnings."""
        return {part: getattr(self, part) for part in PARTS}

    def start(self, n_series: int, n_day: int) -> State:
        """Nothing seen."""
        return self._memory.start(n_series, n_day)

    def run(
        self, state: State, panel: BinPanel, x: Array, is_open: Flags
    ) -> tuple[State, Forecast]:
        """Forecast each bin from the bins before it."""
        after, features, base, scale = self._memory.run(state, panel, x, is_open)
        quantiles = np.full((*x.shape, len(QUANTILES)), np.nan)
        _predict(features, self._trees, quantiles)
        return after, _told(base, scale, quantiles, np.ones(x.shape))

    def ahead(self, state: State, coming: BinPanel, is_open: Flags) -> Forecast:
        """The trees fed with their own middles; sides and growth come of errors that are tried."""
        base, usual, scale = self._memory.ahead(state, coming)
        quantiles = np.full((*base.shape, len(QUANTILES)), np.nan)
        response = np.zeros(base.shape)
        _iterate(
            (base, usual, scale),
            is_open,
            (coming.day_slot, coming.week_slot, coming.n_day),
            (state["rest"], state["last"]),
            self._trees,
            (quantiles, response),
        )
        wide = np.broadcast_to(scale[:, None], base.shape)
        return _told(base, wide, quantiles, widened(response))

    @property
    def _memory(self) -> "_Memory":
        return _Memory(self.slots)

    @property
    def _trees(self) -> tuple[Ints, Ints, Singles, Array, Array]:
        # A 32-bit float is at most the threshold exactly if it is at most the next such below it.
        return self.children, self.feature, _floored(self.threshold), self.value, self.begin


def _floored(threshold: Array) -> Singles:
    near = threshold.astype(np.float32)
    below = np.nextafter(near, np.float32(-np.inf))
    return np.where(near > threshold, below, near).astype(np.float32)


def _told(base: Array, scale: Array, quantiles: Array, growth: Array) -> Forecast:
    low, middle, high = np.moveaxis(quantiles, -1, 0)
    # Forests of different quantiles may cross.
    below, above = np.maximum(middle - low, LEAST_SIDE), np.maximum(high - middle, LEAST_SIDE)
    wide = scale * growth
    return Forecast(base + scale * middle, wide * below, wide * above)


@dataclass(frozen=True)
class _Memory:
    """The means, what they left through a week, and its usual size: what features are made of."""

    slots: SlotEwma

    def start(self, n_series: int, n_day: int) -> State:
        return {
            **named(self.slots.start(n_series, n_day), "slots"),
            "rest": np.zeros((n_series, 7 * n_day)),
            "square": np.zeros(n_series),
            "n": np.zeros(n_series),
            "last": np.full(n_series, -1, dtype=np.int64),
        }

    def run(
        self, state: State, panel: BinPanel, x: Array, is_open: Flags
    ) -> tuple[State, Singles, Array, Array]:
        """The state after; features (n_series, n_bins, N_FEATURES), means, usual rest."""
        slots, base, _, usual = self.slots.apart(scoped(state, "slots"), panel, x, is_open)
        own = {name: state[name].copy() for name in ("rest", "square", "n", "last")}
        features = np.full((*x.shape, N_FEATURES), np.nan, dtype=np.float32)
        scale = np.full(x.shape, np.nan)
        _scan(
            (np.ascontiguousarray(x), base, usual),
            is_open,
            (panel.day_slot, panel.week_slot, panel.n_day),
            (own["rest"], own["square"], own["n"], own["last"]),
            (features, scale),
        )
        return {**named(slots, "slots"), **own}, features, base, scale

    def ahead(self, state: State, coming: BinPanel) -> tuple[Array, Array, Array]:
        """Means and spreads of coming bins' hours, and the usual rest now (n_series,)."""
        slots, n = scoped(state, "slots"), state["n"]
        mean = np.divide(state["square"], n, out=np.full(len(n), np.nan), where=n > LEAST)
        base, usual = self.slots.base(slots, coming), self.slots.spread_now(slots, coming)
        return base, usual, np.sqrt(mean)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _scan(
    values: tuple[Array, Array, Array],
    is_open: Flags,
    clock: tuple[Ints, Ints, int],
    memory: tuple[Array, Array, Array, npt.NDArray[np.int64]],
    found: tuple[Singles, Array],
) -> None:
    x, base, usual = values
    day_slot, week_slot, n_day = clock
    rest, square, n, last = memory
    features, scale = found
    for i in range(x.shape[0]):
        for t in range(x.shape[1]):
            if np.isnan(base[i, t]):
                continue
            k, s = week_slot[t], np.nan
            if n[i] > LEAST and square[i] > 0:
                s = np.sqrt(square[i] / n[i])
                scale[i, t] = s
                sizes = (base[i, t], usual[i, t], s)
                _describe((rest[i], last[i]), (day_slot[t], k, n_day), sizes, features[i, t])
            if np.isnan(x[i, t]):
                continue
            r = 0.0
            if is_open[i, t]:
                r = cut(x[i, t] - base[i, t], usual[i, t])
                d = min(max(r, -CAP * s), CAP * s) if s > 0 else r
                n[i] = KEPT * n[i] + 1
                square[i] = KEPT * square[i] + d * d
            put(rest[i], last[i], k, r)
            last[i] = k


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _describe(
    memory: tuple[Array, int],
    clock: tuple[int, int, int],
    sizes: tuple[float, float, float],
    into: Singles,
) -> None:
    rest, last = memory
    day_slot, k, n_day = clock
    base, usual, s = sizes
    lags = np.empty(N_LAGS)
    lagged(rest, last, k, n_day, lags)
    for j in range(N_LAGS):
        into[j] = np.float32(lags[j] / s)
    into[N_LAGS] = np.float32(base / s)
    into[N_LAGS + 1] = np.float32(usual / s)
    into[N_LAGS + 2] = np.float32(day_slot / n_day)
    into[N_LAGS + 3] = np.float32(k // n_day)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _value(z: Singles, trees: tuple[Ints, Ints, Singles, Array, Array], of: int) -> float:
    children, feature, threshold, value, begin = trees
    total = begin[of]
    for tree in range(feature.shape[1]):
        node = 0
        while feature[of, tree, node] >= 0:
            goes_left = z[feature[of, tree, node]] <= threshold[of, tree, node]
            node = children[of, tree, node, 0 if goes_left else 1]
        total += value[of, tree, node]
    return float(total)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _predict(
    features: Singles, trees: tuple[Ints, Ints, Singles, Array, Array], found: Array
) -> None:
    for i in range(features.shape[0]):
        for t in range(features.shape[1]):
            if np.isnan(features[i, t]).any():
                continue
            for of in range(found.shape[2]):
                found[i, t, of] = _value(features[i, t], trees, of)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _iterate(
    values: tuple[Array, Array, Array],
    is_open: Flags,
    clock: tuple[Ints, Ints, int],
    memory: tuple[Array, npt.NDArray[np.int64]],
    trees: tuple[Ints, Ints, Singles, Array, Array],
    found: tuple[Array, Array],
) -> None:
    """Quantiles, and what of an error is left in each bin behind it.

    Three paths: the bins end in their middles; the first one ends a spread above it, which tells
    what is left; each misses it by a usual error, which tells how wide the sides are (without
    errors all would look calm).
    """
    base, usual, scale = values
    day_slot, week_slot, n_day = clock
    quantiles, response = found
    z = np.empty(N_FEATURES, dtype=np.float32)
    for i in range(base.shape[0]):
        if not scale[i] > 0:
            continue
        for path in range(3):
            rest, last = memory[0][i].copy(), memory[1][i]
            for t in range(base.shape[1]):
                k = week_slot[t]
                sizes = (base[i, t], usual[i, t], scale[i])
                _describe((rest, last), (day_slot[t], k, n_day), sizes, z)
                middle, r = _value(z, trees, 1), 0.0
                if path == 0:
                    quantiles[i, t, 1], response[i, t] = middle, 1.0
                elif path == 1:
                    r = 1.0 if t == 0 else 0.0
                    if t > 0:
                        response[i, t] = min(max(middle - quantiles[i, t, 1], -1.0), 1.0)
                else:
                    low, high = _value(z, trees, 0) - middle, _value(z, trees, 2) - middle
                    quantiles[i, t, 0] = quantiles[i, t, 1] + low
                    quantiles[i, t, 2] = quantiles[i, t, 1] + high
                    r = TYPICAL * (high if _is_even(t) else low)
                put(rest, last, k, scale[i] * (middle + r) if is_open[i, t] else 0.0)
                last = k


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _is_even(t: int) -> bool:
    """Thue and Morse's signs: balanced over every stretch, and without a period."""
    n = 0
    while t > 0:
        n += t & 1
        t >>= 1
    return n % 2 == 0
