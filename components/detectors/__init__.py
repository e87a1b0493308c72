"""Detectors: one file and one line here each."""

from collections.abc import Mapping

from components.detectors.amplitude_zscore import AmplitudeZScore
from components.detectors.base import Detector
from components.detectors.dual_stream import DualStream
from components.detectors.volatility_zscore import VolatilityZScore

DETECTORS: Mapping[str, Detector] = {
    "amplitude_zscore": AmplitudeZScore(),
    "dual_stream": DualStream(),
    "volatility_zscore": VolatilityZScore(),
}
