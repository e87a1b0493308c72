"""From a feed to the broker: every closed candle, whatever becomes of it."""

import logging
import threading
from collections.abc import Callable

import pandas as pd

from components.brokered import Brokered
from components.errors import BrokerError
from components.feeds import Feed
from components.metrics import Metrics

log = logging.getLogger("tremor")

# Between tries of a broker that is away, s.
WAIT_S = 2.0


def send_on(
    feed: Feed, broker: Brokered, interval: str, metrics: Metrics, stop: threading.Event
) -> None:
    """Send what a feed gives until it ends; a broker that is away is waited for.

    A candle may be sent twice, where it is not known whether the broker has it: whoever judges
    takes it once.
    """
    for arrived in feed.arrivals(stop):
        metrics.count("candles", len(arrived.candles))
        metrics.count("refused", len(arrived.refused), "message")
        candles = arrived.candles
        if "known_at" not in candles:
            candles = candles.assign(known_at=arrived.at.as_unit("us"))
        _sent(candles, broker, interval, stop)
        feed.done(arrived.number)


def _sent(candles: pd.DataFrame, broker: Brokered, interval: str, stop: threading.Event) -> None:
    while True:
        try:
            broker.candles(candles, interval)
        except BrokerError as error:
            if not error.is_transient or stop.is_set():
                raise
            log.warning("%s Sent again in %.0f s.", error, WAIT_S)
            stop.wait(WAIT_S)
        else:
            return


class Sender:
    """Sends in a thread of its own; ``failed`` hears that it did, and how is raised by ``join``."""

    def __init__(
        self,
        feed: Feed,
        broker: Brokered,
        interval: str,
        metrics: Metrics,
        failed: Callable[[], None],
    ) -> None:
        # Its own: where the judging begins again, so does this, and nobody is told to stop.
        self._stop = threading.Event()
        self._failure: BaseException | None = None

        def work() -> None:
            try:
                send_on(feed, broker, interval, metrics, self._stop)
            except BaseException as error:  # noqa: BLE001 - raised again where it is joined
                self._failure = error
                failed()

        self._thread = threading.Thread(target=work, name="sender", daemon=True)
        self._thread.start()

    def has_ended(self) -> bool:
        """Whether the feed ended, and all of it is sent."""
        return not self._thread.is_alive() and self._failure is None

    def join(self) -> None:
        """Wait until it has ended."""
        self._stop.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure
