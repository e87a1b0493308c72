"""Detectors: one file and one line here each."""

from collections.abc import Mapping

from components.detectors.amplitude_zscore import AmplitudeZScore
from components.detectors.base import Detector
from components.detectors.volatility_zscore import VolatilityZScore

DETECTORS: Mapping[str, Detector] = {
    "amplitude_zscore": AmplitudeZScore(),
    "volatility_zscore": VolatilityZScore(),
}
