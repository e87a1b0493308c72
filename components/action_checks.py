"""The checks of dividends: each tells of every action whether it is refused."""

import numpy as np
import pandas as pd

from components.check_rows import Array, Rows

# A dividend of a tenth of the price must show in the price: a quarter of it at least.
LARGE_DIVIDEND, SHOWN_SHARE = 0.10, 0.25

# Weekly payers pay the same amount every seven days.
REPEATED_WITHIN = pd.Timedelta(days=4)


def priced_bars(rows: Rows, actions: pd.DataFrame) -> pd.DataFrame:
    """The bars of the replies that name actions, one a bar, with the close before each."""
    own = rows.take(np.isin(rows.reply, actions["reply"].unique()))
    bars = pd.DataFrame(
        {
            "reply": own.reply,
            "ts": pd.DatetimeIndex(own.ts.view("M8[us]")).tz_localize("UTC"),
            "later_ratios": own.later_ratios,
            "open": own.open / own.later_ratios,
            "close": own.adjusted_close,
        }
    )
    bars = bars.drop_duplicates(["reply", "ts"], keep="last", ignore_index=True)
    bars["before"] = bars.groupby("reply")["close"].shift()
    return bars


def dividend_out_of_scale(actions: pd.DataFrame, bars: pd.DataFrame) -> Array:
    """A dividend of a tenth of the price or more that the price did not notice."""
    both = actions.merge(bars, on=["reply", "ts"], how="left", suffixes=("", "_bar"))
    # In the provider's own units, in which a split on the same day makes no jump.
    share = both["value"] / both["later_ratios"] / both["before"]
    fall = 1 - np.minimum(both["open"], both["close"]) / both["before"]
    is_odd = (share >= LARGE_DIVIDEND) & (fall < SHOWN_SHARE * share)
    return np.asarray(is_odd & (actions["kind"].to_numpy() == "dividend"), dtype=bool)


def repeated_dividend(actions: pd.DataFrame, bars: pd.DataFrame) -> Array:  # noqa: ARG001 - as above
    """The same amount again within four days: the earlier is the slip."""
    following = actions.groupby(["reply", "kind"])[["ts", "value"]].shift(-1)
    is_soon = following["ts"] - actions["ts"] <= REPEATED_WITHIN
    is_same = following["value"] == actions["value"]
    return np.asarray(is_soon & is_same & (actions["kind"] == "dividend"))
