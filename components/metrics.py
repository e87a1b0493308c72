"""What a stream counts, for Prometheus to ask; its numbers are in the process until asked."""

from dataclasses import dataclass, field
from typing import Any

from components.errors import SettingsError

# From a candle's arrival to its stored verdict.
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


@dataclass
class Metrics:
    """Counters and gauges of one stream, in a register of their own."""

    _held: dict[str, Any] = field(default_factory=dict)
    _register: Any = None

    def __post_init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._register = CollectorRegistry()
        of = {"registry": self._register}
        self._held = {
            "candles": Counter("tremor_candles", "Closed candles that arrived", **of),
            "refused": Counter("tremor_refused", "Messages and rows refused", ["why"], **of),
            "late": Counter("tremor_late", "Candles of bars judged before", ["what"], **of),
            "verdicts": Counter("tremor_verdicts", "Bars judged", ["verdict"], **of),
            "alerts": Counter("tremor_alerts", "Alerts told", **of),
            "waiting": Gauge("tremor_waiting", "Candles that wait for others of their bar", **of),
            "lag": Gauge("tremor_lag_seconds", "Close of the newest judged bar to now", **of),
            "parameters": Gauge("tremor_parameters", "Parameters in use", ["version"], **of),
            "stored": Histogram(
                "tremor_stored_seconds", "Arrival to stored verdict", buckets=BUCKETS_S, **of
            ),
        }

    def count(self, name: str, n: float = 1, *labels: str) -> None:
        """Add to a counter."""
        if n:
            held = self._held[name]
            (held.labels(*labels) if labels else held).inc(n)

    def set(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge."""
        held = self._held[name]
        (held.labels(*labels) if labels else held).set(value)

    def only(self, name: str, label: str) -> None:
        """Say of a gauge with labels that this one alone is in force."""
        self._held[name].clear()
        self._held[name].labels(label).set(1)

    def observe(self, name: str, seconds: float) -> None:
        """Add to a histogram."""
        self._held[name].observe(seconds)

    def text(self) -> str:
        """All of it as Prometheus reads it."""
        from prometheus_client import generate_latest

        return generate_latest(self._register).decode()

    def serve(self, address: str, port: int) -> int:
        """Answer Prometheus on a port, 0 for any free one; give it.

        Raises
        ------
        SettingsError
            The port is taken, or may not be used.
        """
        from prometheus_client import start_http_server

        try:
            server, _ = start_http_server(port, address, self._register)
        except OSError as error:
            raise SettingsError(
                f"TREMOR_METRICS_PORT={port} cannot be used ({error.strerror}). Name a free one."
            ) from error
        return int(server.server_port)
