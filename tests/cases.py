"""One row a registered detector or source: what the law suites run over."""

from dataclasses import dataclass

from components.detectors import DETECTORS
from components.detectors.base import Detector


@dataclass(frozen=True)
class DetectorCase:
    """A detector, what it takes, and the laws that it does not keep, each with the reason.

    ``gapless``: a gap in its context leaves a bar without a score.
    """

    id: str
    detector: Detector
    exempt: tuple[tuple[int, str], ...] = ()
    takes: str = "moves"
    gapless: bool = False

    def is_exempt(self, law: int) -> bool:
        """Whether the case does not keep a law."""
        return law in dict(self.exempt)


DETECTOR_CASES = [
    DetectorCase(
        "amplitude_zscore",
        DETECTORS["amplitude_zscore"],
        exempt=((4, "the base system's rule reads all history"),),
    ),
    DetectorCase(
        "dual_stream",
        DETECTORS["dual_stream"],
        exempt=((4, "the peer's rule reads all history"),),
    ),
    DetectorCase("gmm", DETECTORS["gmm"]),
    DetectorCase("isolation_forest", DETECTORS["isolation_forest"]),
    DetectorCase("kmeans", DETECTORS["kmeans"]),
    DetectorCase("knn", DETECTORS["knn"]),
    DetectorCase("lstm_autoencoder", DETECTORS["lstm_autoencoder"], gapless=True),
    DetectorCase("macro_range", DETECTORS["macro_range"]),
    DetectorCase("macro_volatility", DETECTORS["macro_volatility"]),
    DetectorCase("macro_volume", DETECTORS["macro_volume"]),
    DetectorCase("mahalanobis", DETECTORS["mahalanobis"]),
    DetectorCase(
        "market",
        DETECTORS["market"],
        exempt=((8, "truncated: bars on which no channel is odd all score 0"),),
        takes="p-values",
    ),
    DetectorCase("micro_body", DETECTORS["micro_body"]),
    DetectorCase("micro_log_return", DETECTORS["micro_log_return"]),
    DetectorCase("micro_range", DETECTORS["micro_range"]),
    DetectorCase("micro_return", DETECTORS["micro_return"]),
    DetectorCase("pca", DETECTORS["pca"]),
    DetectorCase("pump", DETECTORS["pump"], takes="p-values"),
    DetectorCase("surge", DETECTORS["surge"]),
    DetectorCase("swing", DETECTORS["swing"]),
    DetectorCase("volatility_zscore", DETECTORS["volatility_zscore"]),
]


@dataclass(frozen=True)
class SourceCase:
    """A source, how to open it over something that answers, and an instrument it has."""

    name: str
    symbol: str


SOURCE_CASES = [
    SourceCase("athena", "payments"),
    SourceCase("binance", "BTCUSDT"),
    SourceCase("files", "ACME-USD"),
    SourceCase("polygon", "ACME"),
    SourceCase("sample", "MSFT"),
    SourceCase("sql", "payments"),
    SourceCase("yahoo", "ACME"),
]
