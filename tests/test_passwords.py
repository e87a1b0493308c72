"""Passwords: kept as salted hashes, told apart, guessed slowly."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.errors import SettingsError
from components.passwords import FREE_GUESSES, LONGEST_WAIT_S, Patience, hashed, is_right

# The same in every worker, for it names tests.
LINE = hashed("a right word", b"sixteen of bytes")


@given(st.text(max_size=40))
@settings(max_examples=15)
def test_only_the_password_itself_is_right(guess):
    """Any other text, null bytes in it too, is wrong and raises nothing."""
    assert is_right(guess, LINE) == (guess == "a right word")


def test_a_line_tells_nothing_of_its_password():
    """Two lines of one password differ, for each has a salt of its own; both know it."""
    other = hashed("a right word")
    assert other != LINE
    assert is_right("a right word", other)
    assert "right" not in LINE
    assert LINE.startswith("scrypt$32768$8$3$")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "a right word",
        LINE.replace("scrypt", "bcrypt"),
        LINE.replace("$32768$", "$32767$"),
        LINE.replace("$32768$", "$1073741824$"),
        LINE.replace("$8$3$", "$8$1000$"),
        LINE.replace("$8$3$", "$0$3$"),
        LINE[:-8],
        LINE + "!",
        "scrypt$32768$8$3$$" + LINE.rpartition("$")[2],
    ],
)
def test_a_line_that_was_not_made_here_is_refused_in_one_line(line):
    """None of its text is shown, and none makes the check run for minutes."""
    with pytest.raises(SettingsError) as refused:
        is_right("a right word", line)
    assert "keys password" in str(refused.value)
    assert not line or line not in str(refused.value)


def test_an_empty_password_is_no_password():
    """Whoever sets one would have no login."""
    with pytest.raises(SettingsError, match="empty"):
        hashed("")


def test_wrong_guesses_wait_longer_and_longer_and_a_right_one_ends_it():
    """A few cost nothing; then each doubles the wait to a minute, and one that is early is lost."""
    now, checked, patience = [0.0], [], Patience()

    def guess(is_it):
        return patience.tried(lambda: checked.append(1) or is_it, lambda: now[0])

    assert [guess(False)[1] for _ in range(FREE_GUESSES)] == [0.0, 0.0, 1.0]
    n_checked = len(checked)
    # Even the right word is not looked at before its time.
    assert guess(True) == (False, 1.0)
    assert len(checked) == n_checked
    waits = []
    for _ in range(10):
        now[0] += LONGEST_WAIT_S
        waits.append(guess(False)[1])
    assert waits[:4] == [2.0, 4.0, 8.0, 16.0]
    assert waits[-1] == LONGEST_WAIT_S
    now[0] += LONGEST_WAIT_S
    assert guess(True) == (True, 0.0)
    assert guess(False) == (False, 0.0)


def test_many_guesses_at_once_are_no_faster():
    """Of twenty that come together only the free ones are checked."""
    checked, patience = [], Patience()

    def guess():
        patience.tried(lambda: checked.append(1) or False, lambda: 0.0)

    threads = [threading.Thread(target=guess) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(checked) == FREE_GUESSES
