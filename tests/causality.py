"""Checkers of what may change a value: nothing that comes later, nothing beyond its context.

``cut(first, last)`` gives the values (n_series, last - first) of the bars first to last, computed
from these bars alone. Values are compared bit for bit unless a tolerance is given.
"""

import numpy as np


def assert_no_look_ahead(cut, n_bars, last):
    """Without the bars from ``last`` on, no value before changes."""
    whole = cut(0, n_bars)
    np.testing.assert_array_equal(cut(0, last), whole[:, :last])


def assert_local(cut, n_bars, context, last, rtol=0.0):
    """Bar ``last`` and the ``context`` bars before it give the value that all history gives."""
    first = max(0, last - context)
    np.testing.assert_allclose(
        cut(first, last + 1)[:, -1], cut(0, n_bars)[:, last], rtol=rtol, atol=0
    )


def assert_pieces_equal_whole(start, run, n_bars, cuts):
    """A scan over pieces, its state carried, gives the values and the state of the whole.

    ``run(state, first, last)`` gives the state behind the bars and their values.
    """
    whole_state, whole = run(start, 0, n_bars)
    carried, pieces = start, []
    for first, last in zip([0, *cuts], [*cuts, n_bars], strict=True):
        carried, values = run(carried, first, last)
        pieces.append(values)
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), whole)
    assert set(carried) == set(whole_state)
    for name, array in whole_state.items():
        np.testing.assert_array_equal(carried[name], array)
