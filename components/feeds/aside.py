"""A call that blocks, made in a thread that keeps nobody from leaving."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def aside(call: Callable[[], T]) -> T:
    """Wait for ``call`` without blocking the loop.

    Its thread is a daemon: whoever leaves in the middle of a slow request does not wait for it,
    as the loop's own executor would have him do.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def told(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result, error = None, None
        try:
            result = call()
        except BaseException as raised:  # noqa: BLE001 - it is raised where the call is awaited
            error = raised
        # The loop may have ended meanwhile, and then nobody asks any longer.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(told, result, error)

    threading.Thread(target=work, name="refill", daemon=True).start()
    return await future
