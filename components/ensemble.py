"""The one door of the judgement: candles and carried state in, verdicts and state out.

candles -> channels -> p-values -> views -> p-values -> votes -> p-values -> kept rate

The daily run, a rebuild from history and a replay all pass here.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from components import drift
from components.apart import FINEST, SHARES, claimed, heard, joined, shares_of
from components.calibration import Calibration, KeptRate, Reference, calibration_of, two_sided
from components.carried import State, named, scoped
from components.consensus import LEVELS, Poll, quorum_of
from components.detectors import DETECTORS, PLACED, lstm_scan
from components.detectors.base import Model, OwnHistoryDetector, TrainableDetector
from components.errors import SettingsError, UnknownName
from components.features import FEATURES, price
from components.features.all_features import AllFeatures
from components.features.channels import VECTOR, Channelled, Channels, vectors
from components.features.columns import Columns
from components.heavy_tail import HeavyTail
from components.model_files import to_files
from components.panels import FIELDS, Array, CandlePanel, Flags, Ints
from components.parameters import Parameters
from components.refitted import YEAR, OwnPast, Refitted
from components.trained import Trained
from components.trained_seat import Seen, TrainedSeat

# Counted up whenever the judgement's arithmetic changes: older snapshots are then rebuilt.
ARITHMETIC = 4

# The stages' own numbers. The steps stack, so the early ones begin with few scores: theirs are
# only compared with each other, and the last one decides.
CHANNEL = Reference(min_reference=60)
VIEW = Reference(window=700, min_reference=60, n_regimes=3)
VOTE = Reference(window=700, min_reference=100, n_regimes=3)
ALONE = Reference(window=700, min_reference=250, n_regimes=3)

# At which multiple of the rate one, two and three votes count. A single one is only recorded, so
# the net is wide; a third mostly comes with the second, so it must be surer to say more.
REACH = (3.0, 1.0, 0.5)

# Of more than every other bar, an alert says nothing.
MOST = 0.5

# Bars of a year, where a bar is a day and markets never close.
DAYS_A_YEAR = 366

# Channels in which only a high value is odd; in the others either sign is.
HIGH_SIDED = ("range", "volume", "excursion")

NEVER = np.datetime64("NaT", "us")


@dataclass(frozen=True)
class Judged:
    """What was found for each bar of a panel; arrays (n_series, n_bars) unless said.

    ``score``, ``p`` (n_detectors, n_series, n_bars); ``agreed_p`` the quorum's p-value;
    ``rate`` the share of bars that may alert, in force at the bar; ``level`` 0 to 3 for none,
    LOW, MEDIUM, HIGH; ``votes`` of ``voters`` have a p of at most ``vote_p``; ``scale`` the
    volatility of log returns known before the bar, a fraction; ``market_part`` the share of the
    return ``move`` that the market explains, a fraction, and ``residual_p`` the p-value of the
    rest; ``channels`` (6, n_series, n_bars) the vector's channels in their units; ``seen`` what
    the trained model saw, where there is one; ``parameters`` the version that placed the micro
    and macro views, by series, "" where none did.
    """

    panel: CandlePanel
    score: Array
    p: Array
    n_reference: Ints
    agreed_p: Array
    votes: Ints
    voters: Ints
    vote_p: Array
    level: Ints
    rate: Array
    is_anomaly: Flags
    is_stale: Flags
    bars_lacking: Ints
    body: Array
    move: Array
    scale: Array
    market_part: Array
    residual_p: Array
    channels: Array
    seen: Seen | None = None
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cast:
    """The calibrated votes of a panel: all that a decision needs, at whatever rate and quorum.

    Arrays (n_series, n_bars) unless said: ``score``, ``p``, ``weight`` (n_views, n_series,
    n_bars), the weight being a view's vote; ``votes_p``, ``cast_at`` (3, n_series, n_bars) the
    calibrated p-value of one, two and three votes, and the p at which each is cast; ``before``
    the instrument's bars before the bar; ``regime`` 0, 1 or 2, -1 unknown.
    """

    score: Array
    p: Array
    weight: Array
    votes_p: Array
    cast_at: Array
    before: Ints
    regime: Ints


@dataclass(frozen=True)
class Decided:
    """What is decided of cast votes; as the fields of ``Judged``, arrays (n_series, n_bars)."""

    agreed_p: Array
    rate: Array
    is_anomaly: Flags
    level: Ints
    vote_p: Array


@dataclass(frozen=True)
class Weighed:
    """What is found of a panel before a rate is named: the votes, and what ``Judged`` tells."""

    cast: Cast
    channelled: Channelled
    columns: dict[str, Array]
    n_reference: Ints
    seen: Seen | None


@dataclass(frozen=True)
class Ensemble:
    """The detectors that judge together, and the rate that they are held to.

    Parameters
    ----------
    detectors : tuple of str
        Names from the registry.
    alerts_per_year : float
        Alerts accepted per instrument and year, true or false.
    quorum : int
        Independent votes that make an alert; a single detector alerts by itself, and so does one
        that is asked apart from the others' vote.
    trained : Trained
        A trained model that judges beside the detectors, or alone where none is named. It
        abstains on the bars that its training saw.
    refit_every : int
        Bars between two fits of the detectors that learn from the instrument's own past:
        ``refit_every`` (in refitted.py) of the bars' interval.
    parameters : Parameters
        Where the features of the micro and macro views usually lie. No state depends on them:
        a stream may go on with others.
    """

    detectors: tuple[str, ...]
    alerts_per_year: float
    quorum: int = 2
    trained: Trained | None = None
    refit_every: int = YEAR
    parameters: Parameters | None = None

    def __post_init__(self) -> None:
        unknown = [name for name in self.detectors if name not in DETECTORS]
        if unknown:
            raise UnknownName("detector", unknown[0], list(DETECTORS))
        unlearned = [name for name in self.detectors if needs_training(name)]
        if unlearned:
            raise SettingsError(
                f"TREMOR_DETECTORS: {unlearned[0]} judges nothing untrained. Leave it out, run "
                f"`python main.py train {unlearned[0]}`, and promote the model."
            )
        if not self.seats:
            raise SettingsError("TREMOR_DETECTORS names no detector.")
        if not 1 <= self.quorum <= len(LEVELS):
            raise SettingsError(f"TREMOR_QUORUM={self.quorum} is not 1, 2 or 3 votes.")
        if len(self.seats) > 1 and len(self._voting) < self.quorum:
            raise SettingsError(
                f"TREMOR_QUORUM={self.quorum} votes cannot be cast by {len(self._voting)} "
                f"detectors ({' and '.join(self._apart)} asked apart). Name more in "
                "TREMOR_DETECTORS."
            )

    @property
    def name(self) -> str:
        """The views' names, joined: the ``judge`` of a verdict."""
        is_usual = self._is_alone or self.quorum == quorum_of(len(self._voting))
        votes = "" if is_usual else f"@{self.quorum}"
        return "+".join(self.seats) + votes

    @property
    def seats(self) -> tuple[str, ...]:
        """The names of all views: the detectors', then the trained model's."""
        return self.detectors + ((self.trained.name,) if self.trained else ())

    @cached_property
    def fingerprint(self) -> str:
        """Changes whenever a setting does that would change a verdict."""
        parts = [
            ARITHMETIC,
            self.alerts_per_year,
            self.quorum,
            (Channels(), CHANNEL, self._own_past, VIEW, Poll(), VOTE, ALONE, REACH, KeptRate()),
            [(name, DETECTORS[name], calibration_of(name)) for name in self.detectors],
        ]
        if self._apart:
            parts.append([(name, SHARES[name]) for name in self._apart])
        if self.trained:
            parts.append(sorted(to_files(self.trained).items()))
        if self.parameters_used:
            # Their version changes with those of other intervals as well.
            parts.append(sorted(self.parameters_used["places"].items()))
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    @property
    def is_placed(self) -> bool:
        """Whether a view asks for parameters."""
        return not PLACED.keys().isdisjoint(self.detectors)

    @property
    def parameters_used(self) -> dict[str, Any]:
        """The parameters as a manifest keeps them; nothing where no view asks for them."""
        return self.parameters.as_said() if self.parameters and self.is_placed else {}

    @property
    def is_carried(self) -> bool:
        """False when a detector reads all history: every run then starts from the first bar."""
        return all(model.context == 0 for model in self._models.values())

    @property
    def bars_before_verdict(self) -> int:
        """Bars of an instrument that pass before its first verdict."""
        if self._is_alone:
            return self._before_p(0)
        return self._before_poll + Poll().measured + VOTE.min_reference

    @property
    def keeps_budget(self) -> bool:
        """False when a single baseline alerts by a rule of its own."""
        return self._own_rule is None

    def require_resolvable(self, bars_per_year: float) -> None:
        """Refuse a budget finer than the reference can resolve, with both numbers."""
        rate = self.alerts_per_year / bars_per_year
        window = HeavyTail().window if FINEST in self.detectors else VOTE.window
        # Fewer than one alert a year are not kept: half as many again come.
        finest = max(_finest(window), 1 / bars_per_year)
        if self.keeps_budget and not finest <= rate <= MOST:
            is_short = bars_per_year > DAYS_A_YEAR
            span, spans = ("week", 365.25 / 7) if is_short else ("year", 1.0)
            raise SettingsError(
                f"TREMOR_ALERTS_PER_{span.upper()}={self.alerts_per_year / spans:g} asks for "
                f"p-values of {rate:.2g}; a tail fitted to {window} past bars keeps "
                f"{finest:.2g} to {MOST:g}. Ask for {finest * bars_per_year / spans:.2g} to "
                f"{MOST * bars_per_year / spans:.0f} alerts a {span}."
            )

    def start(self, n_series: int) -> State:
        """The state before the first bar of ``n_series`` instruments."""
        state: dict[str, npt.NDArray[np.generic]] = {
            "last_ts": np.full(n_series, NEVER),
            "n_bars": np.zeros(n_series, dtype=np.int64),
        }
        state.update(named(Channels().start(n_series), "channels"))
        state.update(named(self._features_asked.start(n_series), "columns"))
        for channel in self._ranked_channels:
            state.update(named(CHANNEL.start(n_series), f"p.{channel}"))
        if self._learners:
            state.update(named(self._own_past.start(n_series), "past"))
        for seat, detector in self._learners.items():
            state.update(named(self._refitted(detector).start(n_series), f"model.{seat}"))
        if self._seat:
            state.update(named(self._seat.start(n_series), "trained"))
        for seat, calibration in enumerate(self._calibrations):
            state.update(named(calibration.start(n_series), f"view.{seat}"))
        if not self._is_alone:
            state.update(named(Poll().start(n_series, len(self._voting)), "poll"))
            for votes in LEVELS:
                state.update(named(VOTE.start(n_series), f"vote.{votes}"))
        state.update(named(KeptRate().start(n_series), "rate"))
        return state

    def run(self, state: State, panel: CandlePanel, rates: Array) -> tuple[State, Judged]:
        """Judge the bars of a panel, all of them newer than the state.

        Parameters
        ----------
        state : State
            Arrays whose first axis runs over the panel's series.
        panel : CandlePanel
            New bars.
        rates : Array
            Stated share of bars that may alert, shape (n_series,).
        """
        after, weighed = self.weigh(state, panel)
        cast, channelled = weighed.cast, weighed.channelled
        kept, decided = self.decide(scoped(state, "rate"), cast, rates)
        after.update(named(kept, "rate"))
        # A view that a standing price does not blind may have judged the bar.
        is_stale = channelled.is_stale & np.isnan(decided.agreed_p)
        is_open = np.isnan(decided.agreed_p) & ~is_stale
        lacking = np.maximum(self.bars_before_verdict - cast.before, 1)
        return after, Judged(
            panel=panel,
            score=cast.score,
            p=cast.p,
            n_reference=weighed.n_reference,
            agreed_p=decided.agreed_p,
            votes=_whole((cast.weight * _at_most(cast.p, decided.vote_p)).sum(axis=0)),
            voters=_whole(cast.weight.sum(axis=0)),
            vote_p=decided.vote_p,
            level=decided.level,
            rate=decided.rate,
            is_anomaly=decided.is_anomaly,
            is_stale=is_stale,
            bars_lacking=np.where(is_open, lacking, 0),
            body=weighed.columns["body"],
            # What is told is the whole move, however long it took.
            move=price.close_return(panel, state["channels.close"].astype(float)),
            scale=channelled.scale,
            market_part=np.expm1(channelled.market_part),
            residual_p=weighed.columns["residual_p"],
            channels=np.stack([channelled.columns[name] for name in VECTOR]),
            seen=weighed.seen,
            parameters=self._versions(panel.symbols),
        )

    def weigh(
        self, state: State, panel: CandlePanel
    ) -> tuple[dict[str, npt.NDArray[np.generic]], Weighed]:
        """Everything up to the calibrated votes: neither the rate nor the quorum matters to it.

        The state behind the bars holds all but that of the kept rate, which is as before.
        """
        after = dict(state)
        channelled, columns = self._columns(state, after, panel)
        seen = self._seen(state, after, panel, columns)
        score, p, n_reference = self._views(state, after, panel, channelled, columns, seen)
        before = state["n_bars"].astype(np.int64)[:, None] + np.cumsum(panel.is_bar, axis=1) - 1
        votes_p, cast_at, weight = self._votes(state, after, p, before, channelled.regime)
        after.update(_last_bar(state, panel))
        cast = Cast(score, p, weight, votes_p, cast_at, before, channelled.regime)
        return after, Weighed(cast, channelled, columns, n_reference, seen)

    def decide(self, kept: State, cast: Cast, rates: Array) -> tuple[State, Decided]:
        """Which bars of cast votes are anomalies at stated rates, and how sure that is.

        Parameters
        ----------
        kept : State
            Of the kept rate, before the bars.
        cast : Cast
            Votes of these detectors; the quorum and the rate may be others than when cast.
        rates : Array
            Stated share of bars that may alert, shape (n_series,).
        """
        p, votes_p = cast.p, cast.votes_p
        quorum = 1 if self._is_alone else self.quorum
        agreed, shares = self._agreed(votes_p[quorum - 1], p, cast.before, rates)
        kept, alert, in_force = KeptRate().run(kept, agreed, rates, cast.regime)
        if self._own_rule:
            alert = cast.score[0] > self._own_rule
            in_force = np.where(np.isnan(agreed), np.nan, two_sided(self._own_rule))
        if self._is_alone:
            # One view casts one vote: there is nothing to agree, and no level to tell.
            level, vote_p = np.zeros(alert.shape, dtype=np.int64), in_force
        else:
            of_vote = (1 - shares.sum(axis=0)) * in_force
            level = _levels(votes_p, of_vote, alert, quorum)
            vote_p = _cast_at(cast.cast_at, level, of_vote)
            is_voted = _at_most(votes_p[quorum - 1], of_vote)
            own = p[list(self._apart.values())]
            vote_p = np.where(alert & ~is_voted, _asked_at(own, shares * in_force), vote_p)
        return kept, Decided(agreed, in_force, alert, level, vote_p)

    def _versions(self, symbols: tuple[str, ...]) -> tuple[str, ...]:
        if not (self.parameters and self.is_placed):
            return ("",) * len(symbols)
        return tuple(self.parameters.version_for(symbol) for symbol in symbols)

    def _seen(
        self,
        state: State,
        after: dict[str, npt.NDArray[np.generic]],
        panel: CandlePanel,
        columns: dict[str, Array],
    ) -> Seen | None:
        """What the trained model makes of the bars, where there is one."""
        if not (self._seat and self.trained):
            return None
        x = np.stack([columns[name] for name in self.trained.features], axis=2)
        carried, seen = self._seat.run(scoped(state, "trained"), panel, x)
        after.update(named(carried, "trained"))
        return seen

    def _columns(
        self, state: State, after: dict[str, npt.NDArray[np.generic]], panel: CandlePanel
    ) -> tuple[Channelled, dict[str, Array]]:
        """Everything that a detector can ask for by name."""
        close = state["channels.close"].astype(float)
        carried, channelled = Channels().run(scoped(state, "channels"), panel)
        after.update(named(carried, "channels"))
        held, columns = self._features_asked.run(scoped(state, "columns"), panel, close, channelled)
        after.update(named(held, "columns"))
        columns.update(channelled.columns)
        for channel in self._ranked_channels:
            z = columns[f"{channel}_z"]
            odd = z if channel in HIGH_SIDED else np.abs(z)
            memory, p, _ = CHANNEL.run(scoped(state, f"p.{channel}"), odd)
            after.update(named(memory, f"p.{channel}"))
            columns[f"{channel}_p"] = p
        return channelled, columns

    def _views(
        self,
        state: State,
        after: dict[str, npt.NDArray[np.generic]],
        panel: CandlePanel,
        channelled: Channelled,
        columns: dict[str, Array],
        seen: Seen | None,
    ) -> tuple[Array, Array, Ints]:
        """Score and p-value of each detector, and the number of scores behind it."""
        vector, past = np.empty((*panel.ts.shape, 0)), scoped(state, "past")
        if self._learners:
            vector = vectors(channelled.columns, panel.steps > 1)
            after.update(named(self._own_past.run(past, vector), "past"))
        scores, ps, references = [], [], []
        for seat, (name, calibration) in enumerate(
            zip(self.seats, self._calibrations, strict=True)
        ):
            if seen and seat == len(self.detectors):
                score = seen.score
            elif seat in self._learners:
                learner, own = self._refitted(self._learners[seat]), f"model.{seat}"
                model, score = learner.run(scoped(state, own), past, vector, panel.symbols)
                after.update(named(model, own))
            else:
                panels = np.stack([columns[f] for f in _features(name)], axis=2)
                if name in PLACED and self.parameters:
                    panels = self.parameters.placed(panels, _features(name), panel.symbols)
                score = self._models[seat].score(panels)
            if name not in SHARES:
                # Where the price stood still there is no scale to hold the next move against.
                score = np.where(channelled.is_stale, np.nan, score)
            view = scoped(state, f"view.{seat}")
            memory, p, n_reference = calibration.run(view, score, channelled.regime)
            after.update(named(memory, f"view.{seat}"))
            scores.append(score)
            ps.append(p)
            references.append(n_reference)
        return np.stack(scores), np.stack(ps), np.stack(references)

    def _votes(
        self,
        state: State,
        after: dict[str, npt.NDArray[np.generic]],
        p: Array,
        before: Ints,
        regime: Ints,
    ) -> tuple[Array, Array, Array]:
        """One, two and three votes: calibrated p-value, p at which cast; the views' shares."""
        if self._is_alone:
            return p, p, np.isfinite(p).astype(float)
        # All views have begun by then: a buffer holds only scores of the same set of them.
        begun = np.where(before >= self._before_poll, p[self._voting], np.nan)
        memory, polled = Poll().run(scoped(state, "poll"), begun)
        after.update(named(memory, "poll"))
        calibrated = []
        for votes, kth in zip(LEVELS, polled.kth, strict=True):
            own = scoped(state, f"vote.{votes}")
            memory, found, _ = VOTE.run(own, -np.log(kth), regime, polled.is_usual)
            after.update(named(memory, f"vote.{votes}"))
            calibrated.append(found)
        # One that is asked apart has a vote of its own, which the others' count does not see.
        weight = (np.isfinite(p) & (before >= self.bars_before_verdict)).astype(float)
        weight[self._voting] = polled.weight
        return np.stack(calibrated), polled.kth, weight

    def _agreed(self, vote_p: Array, p: Array, before: Ints, rates: Array) -> tuple[Array, Array]:
        """The p-value that decides, and each bar's shares of the rate that are not the vote's."""
        if not self._apart:
            return vote_p, np.zeros((0, *vote_p.shape))
        shares = shares_of(tuple(self._apart), rates, _finest(VOTE.window))
        own = p[list(self._apart.values())]
        apart_p = np.where(before >= self.bars_before_verdict, own, np.nan)
        apart_p = heard(tuple(self._apart), apart_p, shares, rates)
        asked = claimed(apart_p, shares)
        return joined(vote_p, apart_p, asked), asked

    @property
    def _is_alone(self) -> bool:
        return len(self.seats) == 1

    @cached_property
    def _voting(self) -> list[int]:
        """Seats of the views that vote."""
        return [
            seat for seat, name in enumerate(self.seats) if name not in SHARES or self._is_alone
        ]

    @cached_property
    def _apart(self) -> dict[str, int]:
        """The seats of the views that are asked apart from the vote of others."""
        if self._is_alone:
            return {}
        return {name: self.detectors.index(name) for name in SHARES if name in self.detectors}

    @cached_property
    def _seat(self) -> TrainedSeat | None:
        return TrainedSeat(self.trained) if self.trained else None

    @cached_property
    def _own_past(self) -> OwnPast:
        return OwnPast(every=self.refit_every)

    def _refitted(self, detector: OwnHistoryDetector) -> Refitted:
        return Refitted(detector, self._own_past)

    @cached_property
    def _learners(self) -> dict[int, OwnHistoryDetector]:
        chosen = enumerate(DETECTORS[name] for name in self.detectors)
        return {seat: d for seat, d in chosen if isinstance(d, OwnHistoryDetector)}

    @cached_property
    def _models(self) -> dict[int, Model]:
        # The others learn nothing in advance, so any bar will do to fit them.
        return {
            seat: _fit(name)
            for seat, name in enumerate(self.detectors)
            if seat not in self._learners
        }

    @cached_property
    def _calibrations(self) -> tuple[Calibration, ...]:
        ranked = ALONE if self._is_alone else VIEW
        return tuple(calibration_of(name, ranked) for name in self.seats)

    @cached_property
    def _ranked_channels(self) -> tuple[str, ...]:
        # The residual's is always told.
        asked = {f.removesuffix("_p") for name in self.detectors for f in _features(name)}
        every = [name.removesuffix("_z") for name in (*VECTOR, "excursion_z")]
        return tuple(c for c in every if c in asked or c == "residual")

    @cached_property
    def _features_asked(self) -> Columns:
        """The features of the views that learn nothing, and of the trained model.

        Those that learn from the instrument's own past are given the vector.
        """
        asked = {f for seat in self._models for f in _features(self.detectors[seat])}
        asked |= set(self.trained.features if self.trained else ())
        return Columns(tuple(name for name in FEATURES if name in asked or name == "body"))

    @property
    def _own_rule(self) -> float | None:
        return self._calibrations[0].threshold if self._is_alone else None

    @property
    def _before_poll(self) -> int:
        # The trained model joins when its own time has come: the others do not wait for it.
        untrained = [seat for seat in self._voting if seat < len(self.detectors)]
        return max(self._before_p(seat) for seat in untrained or self._voting)

    def _before_p(self, seat: int) -> int:
        """Bars before the first p-value of a view."""
        calibration = self._calibrations[seat]
        if self.trained and seat == len(self.detectors):
            return Channels().warm_up + self.trained.context + calibration.min_reference
        name = self.detectors[seat]
        asked = set(_features(name))
        before = DETECTORS[name].min_bars - 1
        if seat in self._learners:
            before = Channels().warm_up + self._own_past.first
        elif any(f.endswith("_p") for f in asked):
            before = Channels().warm_up + CHANNEL.min_reference
        elif any(f.endswith("_z") for f in asked):
            before += Channels().warm_up
        elif carried := [FEATURES[f].context for f in asked if FEATURES[f].kind == "carried"]:
            before += max(carried)
        return before + calibration.min_reference


def _finest(window: int) -> float:
    """The least rate that a tail is trusted to: a tenth of what ranks alone would resolve."""
    return 1 / (10 * window)


def needs_training(name: str) -> bool:
    """Whether a detector judges nothing before it was trained on all instruments together."""
    detector = DETECTORS[name]
    return isinstance(detector, TrainableDetector) and not isinstance(detector, OwnHistoryDetector)


def _features(name: str) -> tuple[str, ...]:
    return DETECTORS[name].features


def _levels(votes_p: Array, in_force: Array, alert: Flags, quorum: int) -> Ints:
    """0 to 3: how many votes were cast; an alert has its quorum."""
    low, medium, high = (
        _at_most(p, reach * in_force) for p, reach in zip(votes_p, REACH, strict=True)
    )
    level = np.where(medium, np.where(high, 3, 2), np.where(low, 1, 0))
    return np.where(alert, np.maximum(level, quorum), level).astype(np.int64)


def _cast_at(kth: Array, level: Ints, in_force: Array) -> Array:
    """The p up to which a view has voted for the level; NaN where there is none."""
    at = np.full(level.shape, np.nan)
    for votes in LEVELS:
        at = np.where(level == votes, kth[votes - 1], at)
    # Of more than three, all that are unusual by the rate have voted.
    return np.where(level == LEVELS[-1], np.fmax(at, in_force), at)


def _asked_at(p: Array, rates: Array) -> Array:
    """The largest rate, of (n_views, n_series, n_bars), that a view asked apart is at most."""
    at: Array = np.where(_at_most(p, rates), rates, 0.0).max(axis=0, initial=0.0)
    return at


def _at_most(p: Array, rate: Array) -> Flags:
    with np.errstate(invalid="ignore"):
        return np.asarray(p <= rate, dtype=np.bool_)


def _whole(weights: Array) -> Ints:
    return np.round(weights).astype(np.int64)


def warm() -> None:
    """Compile every feature, scan and model's score, so that an image holds them ready."""
    ensemble = Ensemble(tuple(name for name in DETECTORS if not needs_training(name)), 4)
    panel = CandlePanel(("A",), np.full((1, 1), NEVER), np.full((1, 1, len(FIELDS)), np.nan))
    for is_read in (False, True):
        # A snapshot that was read cannot be written to: to the compiler another kind of array.
        state = ensemble.start(1)
        for a in state.values():
            a.flags.writeable = not is_read
        ensemble.run(state, panel, np.full(1, 0.01))
    features = AllFeatures()
    features.run(features.start(1), panel)
    for name, detector in DETECTORS.items():
        if not needs_training(name):
            shape = (1, detector.min_bars, len(detector.features))
            detector.fit(np.zeros(shape)).score(np.zeros(shape))
    lstm_scan.warm()
    drift.warm()


def _fit(name: str) -> Model:
    detector = DETECTORS[name]
    return detector.fit(np.zeros((1, detector.min_bars, len(detector.features))))


def _last_bar(state: State, panel: CandlePanel) -> dict[str, npt.NDArray[np.generic]]:
    has_bars = panel.is_bar.any(axis=1)
    n_bars = state["n_bars"] + panel.is_bar.sum(axis=1)
    if not panel.ts.shape[1]:
        return {"n_bars": n_bars}
    return {
        "n_bars": n_bars,
        "last_ts": np.where(has_bars, panel.ts[:, -1], state["last_ts"]),
    }
