"""What the API holds between requests: judges, connections, keys, and what is in force."""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import pandas as pd

from components.embedded import open_embedded
from components.entrypoints.api.lanes import Lane, Opened
from components.errors import ModelError, TremorError
from components.keys import OPEN, Key
from components.metrics import ApiMetrics
from components.reading import news
from components.result_cache import ResultCache
from components.settings import Settings
from components.steps import keys as kept_keys
from components.steps.parts import Parts
from components.steps.requested import RequestJudge
from components.warehouse.pool import Pool
from components.wiring import open_parts, open_warehouse, registry_of

log = logging.getLogger("tremor")

T = TypeVar("T")

# How often, s, what is in force is looked at, and whether a model was promoted; after how many a
# model that could not be had is tried again.
LOOK_S, LOOK_AT_MODELS_S, TRY_AGAIN_S = 0.5, 5.0, 60.0

EPOCH = pd.Timestamp(0, tz="UTC")


@dataclass(frozen=True)
class Force:
    """What answers depend on beside the question."""

    run: str = ""
    model: str = ""
    parameters: str = ""
    newest: str = ""
    candles: str = ""
    said: str = ""
    run_at: pd.Timestamp | None = None

    @property
    def of_judge(self) -> tuple[str, str, str]:
        """What a judge is made of; where it changes, another is made."""
        return self.run, self.model, self.parameters

    @property
    def of_past(self) -> tuple[str, str]:
        """What states are made of; where it changes, those that are held are made anew."""
        return self.candles, self.said


class Service:
    """Opened once; its parts may be asked from the event loop.

    Attributes
    ----------
    keys : dict
        The keys in force, by their ids; looked at twice a second.
    version : str
        Changes whenever a run, a model, parameters or new verdicts came: no answer that was
        given before is found again.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = ApiMetrics()
        self.keys: dict[str, Key] = {}
        self.force = Force()
        self.version, self.lacking = "", ""
        self.looked_at, self._opened_at = time.monotonic(), 0.0
        self._stop = asyncio.Event()
        with open_warehouse(settings):
            self.pool = Pool(settings.warehouse or open_embedded(settings.state_dir))
        with self.pool.lent() as warehouse:
            # Of several warehouses one Redis may hold the answers; alerts of the same bars have
            # the same ids in all of them.
            own = hashlib.sha256(warehouse.shown.encode()).hexdigest()[:12]
        prefix = f"tremor:answers:{own}"
        self.cache = ResultCache(settings.redis_url.get_secret_value(), prefix)
        self.on_news: list[Callable[[Force, Force], None]] = []
        self.on_leave: list[Callable[[], None]] = []

    async def start(self) -> None:
        """Look at what is in force, make the judges, and go on looking."""
        self.force = await asyncio.to_thread(self._looked_at, self.force, with_models=True)
        self.small = Lane(await self._opened(), self.settings.api_timeout_s)
        self.bulk = Lane(await self._opened(), self.settings.api_timeout_s)
        self._renew()
        self._watching = asyncio.create_task(self._watch())

    def leave(self) -> None:
        """Let those who listen know that it ends."""
        for told in self.on_leave:
            told()

    async def close(self) -> None:
        """Stop looking, and close what is open."""
        self._stop.set()
        await self._watching
        for lane in (self.small, self.bulk):
            await lane.close()
        await self.cache.close()
        self.pool.close()

    async def ask(self, question: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Put a question to the warehouse, in a thread."""

        def asked() -> T:
            with self.pool.lent() as warehouse:
                return question(warehouse, *args, **kwargs)

        return await asyncio.to_thread(asked)

    def may_go_on(self, key: Key) -> bool:
        """Whether a key that let somebody in still would: it may have been revoked since."""
        now = pd.Timestamp.now("UTC")
        return key.id == OPEN.id or (key.id in self.keys and self.keys[key.id].holds(now))

    @property
    def parts(self) -> Parts:
        """What the judges work with."""
        return self.small.judge.parts

    async def _opened(self) -> Opened:
        return await asyncio.to_thread(self._open)

    def _open(self) -> Opened:
        now, stack = pd.Timestamp.now("UTC").floor("s"), ExitStack()
        opening = open_parts(self.settings, now, command="serve", reads_only=True)
        parts = stack.enter_context(opening)
        self.lacking, self._opened_at = "; ".join(parts.run.degraded), time.monotonic()
        return Opened(RequestJudge(parts), stack)

    async def _watch(self) -> None:
        """Notice keys, runs, models, parameters; a store that is away is looked for again."""
        since_models, is_away = 0.0, False
        while not self._stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), LOOK_S)
            if self._stop.is_set():
                return
            since_models += LOOK_S
            with_models = since_models >= LOOK_AT_MODELS_S
            since_models = 0.0 if with_models else since_models
            try:
                await self._look(with_models=with_models)
                is_away = False
            except TremorError as error:
                if not is_away:
                    log.warning("%s", error)
                is_away = True
            except Exception:
                # Whoever stopped looking would honour revoked keys for ever.
                log.exception("the API looks again")

    async def _look(self, *, with_models: bool) -> None:
        found = await asyncio.to_thread(self._looked_at, self.force, with_models=with_models)
        before = self.force
        if found.of_judge != before.of_judge or self._is_to_try_again():
            # Both or none: what is small and what is large is judged by the same.
            opened = [await self._opened() for _ in range(2)]
            for lane, each in zip((self.small, self.bulk), opened, strict=True):
                await lane.swap(each)
        elif found.of_past != before.of_past:
            for lane in (self.small, self.bulk):
                await lane.forget()
        self.force, self.looked_at = found, time.monotonic()
        if found != before:
            self._renew()
            for told in self.on_news:
                told(before, found)

    def _is_to_try_again(self) -> bool:
        """Whether a model that lacked when the judge was made may be there by now."""
        return bool(self.lacking) and time.monotonic() - self._opened_at >= TRY_AGAIN_S

    def _renew(self) -> None:
        ensemble = self.parts.ensemble
        said = (self.parts.code_version, ensemble.fingerprint, ensemble.name, self.force)
        self.version = hashlib.sha256(repr(said).encode()).hexdigest()[:16]

    def _looked_at(self, before: Force, *, with_models: bool) -> Force:
        interval = self.settings.interval
        with self.pool.lent() as warehouse:
            self.keys = kept_keys.held(warehouse)
            run = news.last_run(warehouse)
            after = pd.Timestamp(before.newest) if before.newest else EPOCH
            newest = news.newest(warehouse, interval, after)
            since = pd.Timestamp(before.candles) if before.candles else EPOCH
            candles, said = news.changed(warehouse, interval, since)
        name = run[0] if run else ""
        known = before.newest if newest is None else newest.isoformat()
        return Force(
            run=name,
            model=self._model() if with_models else before.model,
            parameters=self._parameters(),
            newest=known,
            candles=before.candles if candles is None else candles.isoformat(),
            said=said,
            run_at=run[1] if run else None,
        )

    def _model(self) -> str:
        """The number of the champion in force; "" where none judges."""
        models = registry_of(self.settings)
        if self.settings.model == "none" or not models.is_there:
            return ""
        try:
            return str(models.version(self.settings.model).number)
        except ModelError:
            return ""

    def _parameters(self) -> str:
        try:
            found = self.settings.params_path.stat()
        except OSError:
            return ""
        return f"{found.st_mtime_ns} {found.st_size}"
