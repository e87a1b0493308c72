"""A stored day played again, candle by candle: what was known then, and nothing judged anew."""

import time
from dataclasses import dataclass

import streamlit as st

from components.entrypoints.dashboard import replay_choice, replay_parts
from components.entrypoints.dashboard.held import Held
from components.entrypoints.dashboard.replay_choice import Choice
from components.entrypoints.dashboard.saying import careful
from components.entrypoints.dashboard.tapes import Reel, Tape, tape_of
from components.reading import live
from components.reading.instruments import Span

# Candles a second.
SPEEDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

# Seconds between two pictures: at a speed above it, each brings several candles.
FRAME_S = 0.1

# A window that was hidden, or a machine that slept, does not leap ahead by more, s.
MOST_S = 1.0

# Where the player of a visitor's session is kept.
PLAYER = "replay_player"


@dataclass
class Player:
    """How far a replay has come: ``at`` candles, the last one drawn in part while it plays."""

    choice: Choice
    at: float = 1.0
    is_playing: bool = False
    looked_at: float = 0.0

    def go_on(self, speed: float, n_candles: int, now_s: float) -> int:
        """Play on to ``now_s``; give how many candles are shown."""
        if self.is_playing:
            self.at += speed * min(max(now_s - self.looked_at, 0.0), MOST_S)
        self.looked_at = now_s
        self.at = min(self.at, float(n_candles))
        self.is_playing = self.is_playing and self.at < n_candles
        return int(self.at)

    def play(self, n_candles: int, now_s: float) -> None:
        """Begin to play, from the start when it is at its end."""
        self.at = 1.0 if self.at >= n_candles else self.at
        self.is_playing, self.looked_at = self.at < n_candles, now_s

    def step(self, n: int, n_candles: int) -> None:
        """Stop, and go some candles on or back."""
        self.is_playing = False
        self.at = float(min(max(int(self.at) + n, 1), n_candles))


def show(held: Held) -> None:
    """Choose what is played, and play it."""
    choice = replay_choice.chosen(held)
    if choice is None:
        return
    reel = Reel(tuple(_tape(held, held.version, choice, symbol) for symbol in choice.symbols))
    if not len(reel):
        st.info(
            f"No bar of these instruments is stored {choice.when}. Choose another day.",
            icon=":material/event_busy:",
        )
        return
    player = st.session_state.get(PLAYER)
    if player is None or player.choice != choice:
        player = st.session_state[PLAYER] = Player(choice)
    speed, n_wide = _controls(player, len(reel))
    # Only what plays is asked for again and again.
    every = FRAME_S if player.is_playing else None
    st.fragment(careful(_frame), run_every=every)(reel, player, speed, n_wide)


def _controls(player: Player, n_candles: int) -> tuple[int, int]:
    row = st.container(horizontal=True, vertical_alignment="bottom")
    is_over = player.at >= n_candles
    if player.is_playing:
        row.button("Pause", icon=":material/pause:", on_click=player.step, args=(0, n_candles))
    else:
        row.button(
            "Play again" if is_over else "Play",
            icon=":material/play_arrow:",
            on_click=lambda: player.play(n_candles, time.monotonic()),
        )
    row.button(
        "Step back", icon=":material/skip_previous:", on_click=player.step, args=(-1, n_candles),
        disabled=player.at <= 1,
    )  # fmt: skip
    row.button(
        "Step", icon=":material/skip_next:", on_click=player.step, args=(1, n_candles),
        disabled=is_over,
    )  # fmt: skip
    row.button(
        "To the start", icon=":material/first_page:", on_click=player.step,
        args=(-n_candles, n_candles), disabled=player.at <= 1,
    )  # fmt: skip
    speed = row.selectbox("Candles a second", SPEEDS, index=SPEEDS.index(10), width=140)
    n_wide = row.selectbox("Bars in view", (60, 120, 360), index=1, width=140)
    return int(speed), int(n_wide)


def _frame(reel: Reel, player: Player, speed: int, n_wide: int) -> None:
    was_playing = player.is_playing
    n_shown = player.go_on(speed, len(reel), time.monotonic())
    st.progress(n_shown / len(reel), f"Candle {n_shown:,} of {len(reel):,}")
    for tape, n_bars in zip(reel.tapes, reel.shown(n_shown).tolist(), strict=True):
        replay_parts.show(tape, n_bars, n_wide)
    if not player.is_playing:
        replay_parts.unusual(reel, n_shown)
    if was_playing and not player.is_playing:
        # At the end: the buttons say so, and no picture is asked for any more.
        st.rerun()


# Shared and never changed: a copy for each picture would cost more than the picture.
@st.cache_resource(ttl=600, max_entries=24, show_spinner="Reading the stored bars")
def _tape(
    _held: Held,
    version: str,  # noqa: ARG001 - when a run has finished, what was read is read anew
    choice: Choice,
    symbol: str,
) -> Tape:
    most = replay_choice.MOST_BARS
    span = Span(symbol, choice.interval, most, choice.since, choice.until)
    return tape_of(symbol, choice.interval, _held.ask(live.stored, span))
