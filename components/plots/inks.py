"""What all pictures to point at have in common: colours, text made harmless, the frame."""

from typing import Any

import plotly.graph_objects as go

# After Okabe and Ito: told apart by every kind of colour vision; beside their blue a lighter one,
# for thin lines on black as on white.
BLUE, DEEP_BLUE, GREY, RED = "#1F86C9", "#0072B2", "#7A8794", "#D55E00"
BAND = "rgba(31, 134, 201, 0.20)"


def plain(text: str) -> str:
    """Text from outside, so that Plotly reads no markup in it."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def framed(figure: go.Figure, height: int, **layout: Any) -> go.Figure:
    """The same margins, legend and hover for every picture; colours are the page's."""
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 36, "b": 8},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        hovermode="closest",
        dragmode=False,
        **layout,
    )
    figure.update_xaxes(automargin=True)
    figure.update_yaxes(automargin=True)
    return figure
