"""Values as JSON has words for them, and tables as records. Pure."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd


def plain(value: Any) -> Any:
    """Numbers, texts, lists and dicts alone; instants as ISO 8601; what is unknown is None."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is pd.NaT or value is pd.NA:
        return None
    return value.isoformat() if hasattr(value, "isoformat") else value


def records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """A dict a row, in order, by the columns' names."""
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]
