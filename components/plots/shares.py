"""A move's two parts, the market's and its own, and what followed days alike; pure."""

from collections.abc import Sequence

import plotly.graph_objects as go

from components.plots.inks import BLUE, GREY, RED, framed
from components.records import Followed
from components.words import bar_word, counted, percent, times


def parts(market_part: float, own_part: float) -> go.Figure:
    """The market's part of a move beside its own, in percent; both fractions."""
    names, values = ["market's part", "its own part"], [100 * market_part, 100 * own_part]
    said = [percent(each, sign=True) for each in (market_part, own_part)]
    drawn = go.Figure()
    drawn.add_bar(
        y=names, x=values, text=said, orientation="h", textposition="auto", width=0.62,
        marker={"color": [GREY, BLUE], "line": {"width": 0}},
        hovertemplate="%{y}: %{text}<extra></extra>",
    )  # fmt: skip
    drawn.add_vline(x=0, line={"color": GREY, "width": 1})
    drawn.update_yaxes(autorange="reversed")
    drawn.update_xaxes(title="part of the move, %", zeroline=False)
    return framed(drawn, 150, showlegend=False)


def volatility(followed: Sequence[Followed], interval: str) -> go.Figure:
    """Volatility after days alike over the one known before, with 95 % intervals."""
    low = [each.volatility_low for each in followed]
    high = [each.volatility_high for each in followed]
    drawn = _intervals([each.volatility for each in followed], low, high, followed, interval)
    drawn.add_hline(y=1, line={"color": GREY, "dash": "dot"}, annotation_text="as before")
    drawn.update_yaxes(title="volatility, times the one before", rangemode="tozero")
    return framed(drawn, 260, showlegend=False)


def moves(followed: Sequence[Followed], interval: str) -> go.Figure:
    """Returns after days alike, in percent, with 95 % intervals."""
    low = [100 * each.move_low for each in followed]
    high = [100 * each.move_high for each in followed]
    middle = [100 * each.move for each in followed]
    drawn = _intervals(middle, low, high, followed, interval)
    drawn.add_hline(y=0, line={"color": GREY, "dash": "dot"}, annotation_text="no move")
    drawn.update_yaxes(title="return after, %")
    return framed(drawn, 260, showlegend=False)


def followed_words(followed: Sequence[Followed]) -> str:
    """Both pictures in a sentence, for who cannot see them."""
    said = [
        f"over {each.n_bars}: volatility {times(each.volatility)} times "
        f"({times(each.volatility_low)} to {times(each.volatility_high)}), return "
        f"{percent(each.move, sign=True)} ({percent(each.move_low, sign=True)} to "
        f"{percent(each.move_high, sign=True)})"
        for each in followed
    ]
    return "What followed days alike, with 95 % intervals; " + "; ".join(said)


def _intervals(
    middle: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    followed: Sequence[Followed],
    interval: str,
) -> go.Figure:
    names = [counted(each.n_bars, bar_word(interval)) for each in followed]
    above = [top - each for each, top in zip(middle, high, strict=True)]
    below = [each - bottom for each, bottom in zip(middle, low, strict=True)]
    drawn = go.Figure()
    drawn.add_scatter(
        x=names, y=list(middle), mode="markers", marker={"color": RED, "size": 11, "symbol":
        "diamond"}, error_y={"type": "data", "array": above, "arrayminus": below,
                             "color": BLUE, "thickness": 2.4, "width": 9},
        customdata=list(zip(low, high, strict=True)),
        hovertemplate="%{x}: %{y:.2f} (%{customdata[0]:.2f} to %{customdata[1]:.2f})"
        "<extra></extra>",
    )  # fmt: skip
    drawn.update_xaxes(title="so long after", type="category")
    return drawn
