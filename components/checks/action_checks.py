"""The checks of dividends: by the prices round them, by each other, by adjusted closes.

Each tells of every action whether it is refused, or noted.
"""

import math

import numpy as np
import pandas as pd

from components.checks.arrays import Array, Rows, key_of

# A dividend of a tenth of the price must show in the price: a quarter of it at least.
LARGE_DIVIDEND, SHOWN_SHARE = 0.10, 0.25

# Weekly payers pay the same amount every seven days.
REPEATED_WITHIN = pd.Timedelta(days=4)

# A hundredth of what was paid before, give or take a quarter, is pence for pounds.
HUNDREDFOLD, HUNDREDFOLD_SLACK = math.log(100), math.log(1.25)

# What an adjustment takes off is the dividend's share of the price: at least a half of it, at
# most 1.3 times, and never half a per cent of the price beside it, as amounts are rounded.
ADJUSTED_SLACK, TOO_LITTLE, TOO_MUCH = 0.005, 0.5, 1.3

# Between two bars that are farther apart there may be other dividends.
NEAR_SECONDS = 10 * 86_400


def measured(actions: pd.DataFrame, rows: Rows, adj_close: Array) -> pd.DataFrame:
    """Measure actions by the bars round them, in the provider's units of today.

    Parameters
    ----------
    actions : DataFrame
        reply, ts, kind, value.
    rows : Rows
        The bars that can be trusted.
    adj_close : ndarray
        The provider's dividend-adjusted closes of all rows by ``place``, NaN where it has none.

    Returns
    -------
    DataFrame
        The actions with ``share`` (a dividend over the close before its date), ``fall`` (from
        that close to the lower of the date's open and close) and ``step`` (what the adjusted
        closes take off the earlier prices): fractions, NaN where a bar is absent.
    """
    own = rows.take(np.isin(rows.reply, actions["reply"].unique()) & (~rows.is_repeated))
    keys = key_of(own.reply, own.ts)
    reply = actions["reply"].to_numpy()
    wanted = key_of(reply, actions["ts"].dt.as_unit("us").astype("int64").to_numpy())
    following = np.searchsorted(keys, wanted)
    before = following - 1

    def at(values: Array, place: Array) -> Array:
        if not len(values):
            return np.full(len(place), np.nan)
        near = np.clip(place, 0, len(values) - 1)
        return np.where((place == near) & (own.reply[near] == reply), values[near], np.nan)

    close = at(own.adjusted_close, before)
    lowest = np.minimum(own.open / own.later_ratios, own.adjusted_close)
    is_near = at(keys.astype(float), following) - at(keys.astype(float), before) < NEAR_SECONDS
    is_exact = at(keys.astype(float), following) == wanted
    with np.errstate(invalid="ignore", divide="ignore"):
        factor = adj_close[own.place] / own.adjusted_close
        return actions.assign(
            share=actions["value"].to_numpy() / at(own.later_ratios, following) / close,
            fall=np.where(is_exact, 1 - at(lowest, following) / close, np.nan),
            step=np.where(is_near, 1 - at(factor, before) / at(factor, following), np.nan),
        )


def dividend_out_of_scale(actions: pd.DataFrame) -> Array:
    """A dividend of a tenth of the price or more that the price did not notice.

    Or a hundredth of what the instrument paid before: pounds for pence, in the median.
    """
    is_odd = (actions["share"] >= LARGE_DIVIDEND) & (
        actions["fall"] < SHOWN_SHARE * actions["share"]
    )
    is_dividend = actions["kind"] == "dividend"
    paid = actions["value"].where(is_dividend)
    by_reply = paid.groupby(actions["reply"])
    earlier = by_reply.transform(lambda own: own.expanding(2).median().shift())
    apart = np.log((paid / earlier).to_numpy(dtype=float))
    is_small = np.abs(apart + HUNDREDFOLD) < HUNDREDFOLD_SLACK
    return np.asarray((is_odd | is_small) & is_dividend, dtype=bool)


def repeated_dividend(actions: pd.DataFrame) -> Array:
    """The same amount again within four days: the earlier is the slip."""
    following = actions.groupby(["reply", "kind"])[["ts", "value"]].shift(-1)
    is_soon = following["ts"] - actions["ts"] <= REPEATED_WITHIN
    is_same = following["value"] == actions["value"]
    return np.asarray(is_soon & is_same & (actions["kind"] == "dividend"))


def dividend_not_adjusted(actions: pd.DataFrame) -> Array:
    """The adjusted closes take off less than half of the dividend: one of them is wrong."""
    less = actions["share"] - actions["step"]
    is_less = (actions["step"] < TOO_LITTLE * actions["share"]) & (less > ADJUSTED_SLACK)
    return np.asarray(is_less & (actions["kind"] == "dividend"))


def dividend_adjusted_twice(actions: pd.DataFrame) -> Array:
    """The adjusted closes take off more than the dividend: its capital gain counted twice."""
    more = actions["step"] - actions["share"]
    is_more = (actions["step"] > TOO_MUCH * actions["share"]) & (more > ADJUSTED_SLACK)
    return np.asarray(is_more & (actions["kind"] == "dividend"))
