"""Views asked apart from the vote: each resolves what no vote can, at a share of the rate."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from components.panels import Array

# What marks a pump has a tail of its own (``HeavyTail``), which the ranks of a vote would hide: the
# second of five views saw no more in 24 pumps than in any busy hour. A tenth of two a week is
# less than one in a month. A plunge of an hour is no odd minute: each was as wild as those just
# before it, and the month's largest stands out among hours alone (``Onset``). Three tenths of two a
# week are the two or three largest swings of a month.
SHARES: Mapping[str, float] = MappingProxyType({"surge": 0.1, "swing": 0.3})

# Which of them has all of a rate that no vote can resolve.
FINEST = "surge"

ROUNDING = 1e-12


def shares_of(names: Sequence[str], rates: Array, finest: float) -> Array:
    """Each view's share of each stated rate, (n_views, n_series, 1); the rest is the vote's.

    Where the rate is below ``finest``, the least that the vote can resolve, ``FINEST`` has it all,
    or where that is not asked, the others have, in proportion.
    """
    usual = np.array([SHARES[name] for name in names])[:, None, None]
    alone = np.array([float(name == FINEST) for name in names])[:, None, None]
    if FINEST not in names:
        alone = usual / usual.sum()
    return np.where((rates < finest)[None, :, None], alone, usual)


def claimed(apart_p: Array, shares: Array) -> Array:
    """The shares of the views that speak: that of one which abstains on a bar is the vote's.

    A view abstains for want of a volume, a move or a past, which its p-value has no part in.

    Parameters
    ----------
    apart_p : Array
        Shape (n_views, n_series, n_bars); NaN where a view abstains.
    shares : Array
        Shape (n_views, n_series, 1), in [0, 1].

    Returns
    -------
    Array
        Shape (n_views, n_series, n_bars).
    """
    return np.where(np.isnan(apart_p), 0.0, shares)


# What begins every few hours is no reason to put a bar before others: beyond so many times what it
# is asked at, such a view has nothing to say.
RARE_ALONE, FAR = frozenset({"swing"}), 10.0


def heard(names: Sequence[str], apart_p: Array, shares: Array, rates: Array) -> Array:
    """The views' p-values, 1 where one that speaks of rare things alone speaks of no rare one.

    They only grow, so each is below alpha on no more bars than before.

    Parameters
    ----------
    apart_p : Array
        Shape (n_views, n_series, n_bars); NaN stays NaN.
    shares : Array
        Shape (n_views, n_series, 1).
    rates : Array
        The stated share of bars that may alert, (n_series,).
    """
    is_rare_alone = np.array([name in RARE_ALONE for name in names])[:, None, None]
    with np.errstate(invalid="ignore"):
        is_far = apart_p > FAR * shares * rates[None, :, None]
    return np.where(is_rare_alone & is_far, 1.0, apart_p)


def joined(vote_p: Array, apart_p: Array, shares: Array) -> Array:
    r"""One p-value of the vote and of the views, each asked at its share of the rate.

    .. math:: p = \min(p^{vote} / (1 - \sum_i w_i), p^{apart}_i / w_i, 1)

    A bar on which nothing is odd has such a p of at most alpha with a probability of at most
    the sum of their shares of alpha, which is alpha, however much they depend on each other
    (Bonferroni). NaN where none that is asked speaks.

    Parameters
    ----------
    vote_p : Array
        Shape (n_series, n_bars); NaN where there is none.
    apart_p : Array
        Shape (n_views, n_series, n_bars).
    shares : Array
        w, as ``claimed``, in [0, 1]; where they sum to 1 the vote is not asked, and a view
        with 0 is not.
    """
    left = 1 - shares.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        # A sum of shares is 1 but for rounding.
        least = np.where(left > ROUNDING, vote_p / left, np.nan)
        for own in np.where(shares > 0, apart_p / shares, np.nan):
            least = np.fmin(least, own)
    return np.minimum(least, 1.0)
