"""Which instruments are decided anew, and their votes: cast once, and held for who comes next."""

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import zip_longest

import streamlit as st

from components.ensemble import Ensemble
from components.entrypoints.dashboard.held import Held
from components.errors import SettingsError
from components.reading import instruments, what_if
from components.steps.weighing import votes_of
from components.what_if import Votes
from components.wiring import open_parts
from components.words import clean, counted

# Instruments looked at together, and bars of all of them: the votes of a bar are some 250 bytes.
MOST, MOST_BARS = 50, 600_000

# Bars whose votes are held for all visitors: those of two sets of detectors, and of one before.
MOST_HELD = 3 * MOST_BARS

# Instruments weighed together, so that progress is seen.
TOGETHER = 10

# Names asked for at once.
MOST_TEXTS = 10

Key = tuple[str, tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True)
class Weighing:
    """The votes of some instruments, who cast them, and how long that took, in seconds."""

    ensemble: Ensemble
    votes: tuple[Votes, ...]
    took_s: float

    @property
    def n_bars(self) -> int:
        """Bars of all instruments."""
        return sum(each.n_bars for each in self.votes)


@dataclass
class Shelf:
    """Weighings by what they were made of; the one asked for longest ago goes first."""

    held: "OrderedDict[Key, Weighing]" = field(default_factory=OrderedDict)
    turn: threading.Lock = field(default_factory=threading.Lock)

    def get(self, key: Key) -> Weighing | None:
        """One that is held."""
        if key in self.held:
            self.held.move_to_end(key)
        return self.held.get(key)

    def put(self, key: Key, found: Weighing) -> None:
        """Hold one more."""
        self.held[key] = found
        while sum(each.n_bars for each in self.held.values()) > MOST_HELD:
            self.held.popitem(last=False)


@st.cache_resource(show_spinner=False)
def _shelf() -> Shelf:
    return Shelf()


def choose(held: Held) -> tuple[str, ...]:
    """Ask which instruments; those of the watch list, or whose names hold what is written."""
    text = st.text_input(
        "Instruments",
        placeholder="Parts of names, separated by commas: BTC, AAPL",
        help=f"At most {MOST} at once. Empty: the first {MOST} of those that are judged.",
        key="what_if_instruments",
    )
    texts = tuple(part.strip() for part in text.split(",") if part.strip())[:MOST_TEXTS]
    found = _found(held.version, texts or ("",), held)
    symbols = _fitting(held, found)
    _say_which(symbols, found, texts)
    return symbols


@st.cache_data(max_entries=64, ttl=3600, show_spinner=False)
def _found(version: str, texts: tuple[str, ...], _held: Held) -> tuple[str, ...]:  # noqa: ARG001 - a key
    interval = _held.settings.interval
    named = [_held.ask(instruments.names, interval, text, MOST + 1) for text in texts]
    # In turn, so that a text that many names hold leaves room for the others.
    in_turn = [symbol for each in zip_longest(*named) for symbol in each if symbol]
    return tuple(dict.fromkeys(in_turn))


def _fitting(held: Held, found: tuple[str, ...]) -> tuple[str, ...]:
    """As many as may be looked at together.

    Raises
    ------
    SettingsError
        The first alone has too many bars.
    """
    chosen, total = [], 0
    sizes = _sizes(held.version, found[:MOST], held)
    for symbol in found[:MOST]:
        total += sizes.get(symbol, 0)
        if total > MOST_BARS:
            break
        chosen.append(symbol)
    if found and not chosen:
        raise SettingsError(
            f"{clean(found[0], 40)} has {total:,} bars, and this page decides {MOST_BARS:,} at "
            "once. Ask for another, or use `python main.py backtest` on a shorter span."
        )
    return tuple(sorted(chosen))


@st.cache_data(max_entries=64, ttl=3600, show_spinner=False)
def _sizes(version: str, symbols: tuple[str, ...], _held: Held) -> dict[str, int]:  # noqa: ARG001 - a key
    return _held.ask(what_if.sizes, symbols, _held.settings.interval)


def _say_which(symbols: Sequence[str], found: Sequence[str], texts: Sequence[str]) -> None:
    if not symbols:
        return
    names = ", ".join(clean(symbol, 30) for symbol in symbols[:12])
    more = f" and {len(symbols) - 12} more" if len(symbols) > 12 else ""
    # Names come from outside: shown as plain text.
    what = f"{counted(len(symbols), 'instrument')} {'found' if texts else 'judged'}"
    is_cut = len(found) > len(symbols)
    said = f"The first {what}; write a name to see others" if is_cut else what
    st.text(f"{said}: {names}{more}.")


def weigh(held: Held, symbols: tuple[str, ...], detectors: tuple[str, ...]) -> list[Weighing]:
    """The votes of ``detectors`` on these instruments, with a bar that shows how far it is.

    Raises
    ------
    SettingsError, UnknownName
        The detectors cannot judge.
    """
    groups = [symbols[i : i + TOGETHER] for i in range(0, len(symbols), TOGETHER)]
    keys = [(held.version, group, detectors) for group in groups]
    shelf = _shelf()
    found = {key: weighing for key in keys if (weighing := shelf.get(key))}
    missing = [key for key in keys if key not in found]
    if missing:
        with shelf.turn:
            found |= _weighed(held, shelf, missing)
    return [found[key] for key in keys]


def _weighed(held: Held, shelf: Shelf, missing: list[Key]) -> dict[Key, Weighing]:
    """Weigh what nobody weighed yet: one visitor at a time, the others find it done."""
    settings = held.settings.model_copy(update={"detectors": missing[0][2]})
    n_symbols = sum(len(key[1]) for key in missing)
    found, n_done, place = {}, 0, st.empty()
    with ExitStack() as stack:
        parts = None
        for key in missing:
            said = f"Weighing {counted(n_symbols, 'instrument')} from the first bar: {n_done} done"
            place.progress(n_done / n_symbols, said)
            weighing = shelf.get(key)
            if weighing is None:
                parts = parts or stack.enter_context(
                    open_parts(settings, held.as_of, command="would have fired", reads_only=True)
                )
                begun = time.perf_counter()
                votes = votes_of(parts, key[1], held.as_of)
                weighing = Weighing(parts.ensemble, votes, time.perf_counter() - begun)
                shelf.put(key, weighing)
            found[key], n_done = weighing, n_done + len(key[1])
    place.empty()
    return found
