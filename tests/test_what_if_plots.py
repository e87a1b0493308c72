"""The pictures of what would have been told: shapes and words, and nothing that a name could do."""

import numpy as np
import pandas as pd

from components.plots import what_if as plots


def changes(n=3, symbol="AAA"):
    """So many bars of each kind of change."""
    kinds = np.repeat(["kept", "new", "lost"], n)
    return pd.DataFrame(
        {
            "symbol": symbol,
            "ts": pd.date_range("2024-01-01", periods=3 * n, tz="UTC"),
            "change": kinds,
            "return": np.linspace(-0.5, 5.0, 3 * n),
            "level": np.where(kinds == "new", np.nan, 2),
            "level_then": np.where(kinds == "lost", np.nan, 3),
        }
    )


def test_kept_new_and_lost_differ_in_shape_and_word():
    """Colour is never the only sign, and each mark says what it is."""
    figure = plots.timeline(changes(), "%Y-%m-%d")
    assert len({trace.marker.symbol for trace in figure.data}) == 3
    assert [trace.name.partition(":")[0] for trace in figure.data] == ["kept", "new", "lost"]
    assert all(trace.name.endswith("(3)") for trace in figure.data)
    assert "in force: not told" in figure.data[1].text[0]
    assert "chosen: not told" in figure.data[2].text[0]


def test_moves_are_read_in_per_cent_on_an_even_scale():
    """The mark of +30 % stands where the axis says +30."""
    figure = plots.timeline(changes(1).assign(**{"return": 0.3}), "%Y-%m-%d")
    axis = figure.layout.yaxis
    at = dict(zip(axis.ticktext, axis.tickvals, strict=True))
    assert figure.data[0].y[0] == at["+30"]
    assert list(axis.tickvals) == sorted(axis.tickvals)
    assert "+30.0 %" in figure.data[0].text[0]
    assert "%" in axis.title.text
    assert "UTC" in figure.layout.xaxis.title.text


def test_a_name_cannot_be_read_as_markup():
    """Names come from outside."""
    figure = plots.timeline(changes(symbol="<a href=x>A</a>"), "%Y-%m-%d")
    assert all("<a" not in text for trace in figure.data for text in trace.text)


def test_by_year_both_sides_stand_beside_what_was_stated():
    """Bars differ in pattern, and the stated rates are lines with their numbers."""
    rows = pd.DataFrame({"year": [2023, 2024], "rate": [3.0, 5.0], "years": [50.0, 10.0]})
    figure = plots.by_year(rows, rows.assign(rate=[6.0, 8.0]), (4.0, 7.5))
    names = [trace.name for trace in figure.data]
    assert names == ["in force", "stated, in force: 4", "chosen", "stated, chosen: 7.5"]
    patterns = [trace.marker.pattern.shape for trace in figure.data if trace.type == "bar"]
    assert len(set(patterns)) == 2
    assert list(figure.data[2].y) == [6.0, 8.0]
    assert set(figure.data[3].y) == {7.5}
