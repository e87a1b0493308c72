"""Judging in turn: questions that wait while others are answered are answered together."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field

import pandas as pd

from components.entrypoints.api.problems import Problem
from components.steps.requested import Answer, Asked, RequestJudge

# Questions answered together, and those that may wait.
TOGETHER, MOST_WAITING = 32, 512


@dataclass(frozen=True)
class Opened:
    """A judge, and what is to be closed behind it."""

    judge: RequestJudge
    stack: ExitStack


@dataclass
class Lane:
    """One judge and one thread, which asks it; the large questions have a lane of their own."""

    opened: Opened
    patience_s: float
    _waiting: list[tuple[Asked, "asyncio.Future[Answer]"]] = field(default_factory=list)
    _is_at_work: bool = False

    def __post_init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="judge")

    @property
    def judge(self) -> RequestJudge:
        """Who answers."""
        return self.opened.judge

    async def ask(self, asked: Asked) -> Answer:
        """The answer.

        Raises
        ------
        Problem
            503 where too many wait, 504 where it takes too long.
        """
        if len(self._waiting) >= MOST_WAITING:
            raise Problem(503, "too many questions wait: ask later", headers={"Retry-After": "1"})
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, answer))
        if not self._is_at_work:
            self._is_at_work = True
            self._task = asyncio.create_task(self._work())
        try:
            async with asyncio.timeout(self.patience_s):
                return await answer
        except TimeoutError:
            detail = f"not answered within {self.patience_s:g} s: send fewer candles"
            raise Problem(504, detail) from None

    async def _work(self) -> None:
        try:
            while self._waiting:
                now, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
                await self._answer([each for each in now if not each[1].done()])
        finally:
            self._is_at_work = False

    async def _answer(self, now: list[tuple[Asked, "asyncio.Future[Answer]"]]) -> None:
        asked = [each for each, _ in now]
        instant = pd.Timestamp.now("UTC").floor("us").as_unit("us")
        found: list[Answer | Exception]
        try:
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(self._thread, self._judged, asked, instant)
        except Exception as error:  # noqa: BLE001 - each of them is told
            found = [error] * len(now)
        for (_, answer), each in zip(now, found, strict=True):
            if answer.done():
                continue
            if isinstance(each, Exception):
                answer.set_exception(each)
            else:
                answer.set_result(each)

    def _judged(self, asked: list[Asked], now: pd.Timestamp) -> list[Answer | Exception]:
        return self.opened.judge.judge(asked, now)

    async def swap(self, opened: Opened) -> None:
        """Let another judge answer, once the one at work has; what was open is closed."""

        def swapped() -> None:
            old, self.opened = self.opened, opened
            old.stack.close()

        await asyncio.get_running_loop().run_in_executor(self._thread, swapped)

    async def forget(self) -> None:
        """Make the states that are held anew: something of their past has changed."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._forgotten)

    def _forgotten(self) -> None:
        self.opened.judge.forget()

    async def close(self) -> None:
        """Let the thread go, when it has answered."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self.opened.stack.close)
        self._thread.shutdown(wait=False, cancel_futures=True)
