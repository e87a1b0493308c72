"""Detectors: one file and one line here each."""

from collections.abc import Mapping

from components.detectors.amplitude_zscore import AmplitudeZScore
from components.detectors.base import Detector, OwnHistoryDetector, TrainableDetector
from components.detectors.dual_stream import DualStream
from components.detectors.gmm import GaussianMixtureSurprise
from components.detectors.isolation_forest import IsolationForestDepth
from components.detectors.kmeans import KMeansDistance
from components.detectors.knn import NearestNeighbours
from components.detectors.lstm_autoencoder import LstmAutoencoder
from components.detectors.macro import Macro
from components.detectors.mahalanobis import RobustDistance
from components.detectors.market import Market
from components.detectors.micro import Micro
from components.detectors.pca import PrincipalResidual
from components.detectors.pump import Pump
from components.detectors.surge import Surge
from components.detectors.swing import Swing
from components.detectors.volatility_zscore import VolatilityZScore

DETECTORS: Mapping[str, Detector | OwnHistoryDetector | TrainableDetector] = {
    "amplitude_zscore": AmplitudeZScore(),
    "dual_stream": DualStream(),
    "gmm": GaussianMixtureSurprise(),
    "isolation_forest": IsolationForestDepth(),
    "kmeans": KMeansDistance(),
    "knn": NearestNeighbours(),
    "lstm_autoencoder": LstmAutoencoder(),
    "macro_range": Macro("macro_range"),
    "macro_volatility": Macro("macro_volatility"),
    "macro_volume": Macro("macro_volume"),
    "mahalanobis": RobustDistance(),
    "market": Market(),
    "micro_body": Micro("body_z"),
    "micro_log_return": Micro("return_z"),
    "micro_range": Micro("range_z", is_high=True),
    "micro_return": Micro("simple_return_z"),
    "pca": PrincipalResidual(),
    "pump": Pump(),
    "surge": Surge(),
    "swing": Swing(),
    "volatility_zscore": VolatilityZScore(),
}

# Those whose scores parameters place: one feature each, less its centre, over its spread.
PLACED: Mapping[str, Micro | Macro] = {
    name: detector for name, detector in DETECTORS.items() if isinstance(detector, Micro | Macro)
}
