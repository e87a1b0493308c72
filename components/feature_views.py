"""What both sides of a feature store call the stored features, and how long one is valid.

A view is of one interval and one version of the arithmetic; its key is the instrument.
"""

import pandas as pd

from components.features import FEATURES, VERSION
from components.sessions import length

KEY = "symbol"

# Beside the features: when the bar opened, when it closed, and when the row became known.
OPENED, CLOSED, KNOWN = "ts", "closes_at", "known_at"
INSTANTS = (OPENED, CLOSED, KNOWN)

# Longer than any exchange was closed: Shanghai's New Year takes ten days, Thanksgiving's early
# close and Good Friday with Easter less than four.
VALID_DAYS, VALID_MINUTES = pd.Timedelta(days=14), pd.Timedelta(days=5)


def view_name(interval: str, version: str = VERSION) -> str:
    """``features_1d_v1``."""
    return f"features_{interval}_v{version}"


def valid_for(interval: str) -> pd.Timedelta:
    """So long after its close a bar is an instrument's newest; later nothing is known of it."""
    return VALID_DAYS if length(interval) >= pd.Timedelta(days=1) else VALID_MINUTES


def fields() -> tuple[str, ...]:
    """All fields of a view: the instants of a bar, and the features of the registry."""
    return (*INSTANTS, *FEATURES)
