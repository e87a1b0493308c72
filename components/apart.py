"""A view asked apart from the vote: it resolves what no vote can, at a share of the rate."""

import numpy as np

from components.panels import Array

# What marks a pump has a tail of its own (``HeavyTail``), which the ranks of a vote would hide: the
# second of five views saw no more in 24 pumps than in any busy hour. A tenth of two a week is
# less than one in a month.
APART, SHARE = "surge", 0.1


def share_of(rates: Array, finest: float) -> Array:
    """The view's share of each stated rate (n_series,), of shape (n_series, 1).

    All of it where the rate is below ``finest``, the least that the vote can resolve.
    """
    return np.where(rates < finest, 1.0, SHARE)[:, None]


def joined(vote_p: Array, apart_p: Array, share: Array) -> Array:
    r"""One p-value of the vote and of the view, each asked at its share of the rate.

    .. math:: p = \min(p^{vote} / (1 - w), p^{apart} / w, 1)

    A bar on which nothing is odd has such a p of at most alpha with a probability of at most
    (1 - w) alpha + w alpha, however much the two depend on each other (Bonferroni). Where the
    view abstains, it is the vote's; NaN where both do.

    Parameters
    ----------
    vote_p, apart_p : Array
        Shape (n_series, n_bars); NaN where there is none.
    share : Array
        w, shape (n_series, 1), in (0, 1]; at 1 the vote is not asked.
    """
    with np.errstate(divide="ignore"):
        least = np.fmin(vote_p / (1 - share), apart_p / share)
    return np.minimum(np.where(np.isnan(apart_p), vote_p, least), 1.0)
