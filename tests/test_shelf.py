"""Votes held for all visitors: no more than memory bears, and those asked for last stay."""

from types import SimpleNamespace

from components.entrypoints.dashboard.universe import MOST_BARS, MOST_HELD, Shelf


def of(n_bars):
    """A weighing of so many bars."""
    return SimpleNamespace(n_bars=n_bars)


def test_what_is_asked_for_again_stays_and_what_was_not_goes_first():
    """By bars, however many instruments they are of."""
    shelf = Shelf()
    for name in "abc":
        shelf.put((name, (), ()), of(MOST_BARS))
    assert shelf.get(("a", (), ())) is not None
    shelf.put(("d", (), ()), of(MOST_BARS))
    assert [name for name, _, _ in shelf.held] == ["c", "a", "d"]
    assert shelf.get(("b", (), ())) is None
    assert sum(each.n_bars for each in shelf.held.values()) <= MOST_HELD
