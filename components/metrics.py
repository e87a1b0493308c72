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


class ApiMetrics:
    """What the API counts, in a register of its own."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._register = CollectorRegistry()
        of: dict[str, Any] = {"registry": self._register}
        self._requests = Counter(
            "tremor_api_requests", "Requests answered", ["method", "route", "status"], **of
        )
        self._seconds = Histogram(
            "tremor_api_seconds", "From request to answer", ["route"], buckets=BUCKETS_S, **of
        )
        self._cached = Counter("tremor_api_cached", "Questions found answered", ["found"], **of)
        self._judged = Counter("tremor_api_bars", "Bars judged on request", **of)
        self._streams = Gauge("tremor_api_streams", "Who listens to new verdicts", **of)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered; ``route`` is the path as it is written, not as it was asked."""
        # A method is the client's word: an unknown one is no label of its own.
        known = method if method in METHODS else "other"
        self._requests.labels(known, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def looked_up(self, *, is_found: bool) -> None:
        """An answer was looked for in the cache."""
        self._cached.labels("yes" if is_found else "no").inc()

    def judged(self, n_bars: int) -> None:
        """So many bars were judged."""
        self._judged.inc(n_bars)

    def listening(self, change: int) -> None:
        """Somebody began, or ceased, to listen."""
        self._streams.inc(change)

    def text(self) -> str:
        """All of it as Prometheus reads it."""
        from prometheus_client import generate_latest

        return generate_latest(self._register).decode()


METHODS = frozenset({"GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"})
