"""Features: causal columns made from candles. One file a family, one line a feature here."""

from collections.abc import Callable, Mapping

from components.features import price
from components.panels import Array, CandlePanel

# A feature takes the panel and the close before its first bar, shape (n_series,), and
# gives one value a bar, shape (n_series, n_bars).
Feature = Callable[[CandlePanel, Array], Array]

FEATURES: Mapping[str, Feature] = {
    "body": price.body,
    "log_return": price.log_return,
    "low_range": price.low_range,
    "price_amplitude": price.price_amplitude,
    "return": price.bar_return,
}
