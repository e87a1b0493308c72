"""Features: causal columns made from candles. One file a family, one record a feature here."""

from collections.abc import Mapping
from typing import Final

from components.features import force, macro, price, relative, scaled, volume, window
from components.features.base import Feature
from components.features.channels import VECTOR

# Names the arithmetic of all features: stored values of two versions are not mixed.
VERSION: Final = "1"

# The bent forms of the channels, in the order of ``channels.vectors``.
VECTORS: Final = tuple(f"{name.removesuffix('_z')}_vector" for name in VECTOR)

BEFORE_RETURN_Z: Final = 31

_BENT: Final = "arsinh({} / 4); the larger of return_z and body_z for both where k > 1"

FEATURES: Mapping[str, Feature] = {
    "body": Feature("C / O - 1", "fraction", 0, price.body),
    "return": Feature("(C / C' - 1) / sqrt(k)", "fraction", 1, price.bar_return),
    "log_return": Feature("ln(C / C') / sqrt(k)", "log", 1, price.log_return),
    "gap": Feature("ln(O / C') where markets close and k = 1", "log", 1, price.gap),
    "volatility": Feature("(H - L) / O", "fraction", 0, price.volatility),
    "price_range": Feature("(H - L) / C", "fraction", 0, price.price_range),
    "low_range": Feature("(H - L) / L", "fraction", 0, price.low_range),
    "bar_range": Feature("(H - L) / C'", "fraction", 1, price.bar_range),
    "price_amplitude": Feature(
        "C - O, not for training", "money", 0, price.price_amplitude, is_scale_free=False
    ),
    "volume_ratio": Feature(
        "V / mean V of the 10 earlier bars", "ratio", window.WINDOW, window.volume_ratio
    ),
    "volatility_ratio": Feature(
        "volatility / its mean over the 10 earlier bars",
        "ratio",
        window.WINDOW,
        window.volatility_ratio,
    ),
    "return_std": Feature(
        "standard deviation of log_return over the 10 earlier bars (divisor 10)",
        "log",
        window.WINDOW + 1,
        window.return_std,
    ),
    "vwap_distance": Feature(
        "ln(C / vwap), vwap = sum(p V) / sum(V) over the bar and the 9 earlier; p = the source's "
        "vwap of the bar, else (H + L + C) / 3",
        "log",
        window.WINDOW - 1,
        window.vwap_distance,
    ),
    "log_reach": Feature(
        "ln max(ln(H / L), |ln(H / C')| / sqrt(k), |ln(L / C')| / sqrt(k))",
        "log share",
        1,
        force.log_reach,
    ),
    "log_money": Feature(
        "ln(C V), not for training", "log money", 0, force.log_money, is_scale_free=False
    ),
    "dollar_volume_z": Feature("ln(C V) in level units", "z", 30, volume.DollarVolume()),
    "adjusted_volume": Feature(
        "ln V - mean of its half hour of the day over earlier days - mean of its weekday over "
        "earlier weeks; the half hour needs 4 earlier days",
        "log",
        4,
        volume.AdjustedVolume(),
    ),
    "market_relative_return": Feature(
        "log_return - beta x the market's",
        "log",
        1,
        relative.MarketRelativeReturn(),
        needs=("log_return",),
    ),
    "market_relative_volume": Feature(
        "ln(volume_ratio) - beta x the market's, the median of its members",
        "log",
        window.WINDOW,
        relative.MarketRelativeVolume(),
        needs=("volume_ratio",),
    ),
    "return_z": Feature("log_return in volatility units", "z", BEFORE_RETURN_Z),
    "gap_z": Feature("gap in volatility units", "z", 31),
    "body_z": Feature("ln(C / O) in volatility units", "z", 30),
    "residual_z": Feature("market_relative_return in units of its own volatility", "z", 61),
    "range_z": Feature(
        "ln max(ln(H / L), |ln(H / C')| / sqrt(k), |ln(L / C')| / sqrt(k)) in level units", "z", 31
    ),
    "volume_z": Feature("ln V in level units, in shares before any split", "z", 30),
    "excursion_z": Feature("ln(H / C') / sqrt(k) in volatility units", "z", BEFORE_RETURN_Z),
    "simple_return_z": Feature(
        "return in units of log_return's volatility",
        "z",
        BEFORE_RETURN_Z,
        scaled.SimpleReturn(),
        needs=("return",),
    ),
    "macro_volatility": Feature(
        "ln(standard deviation of log_return over the bar and the 59 earlier / its level before "
        "these)",
        "log",
        90,
        macro.OverLevel("log_return", macro.SPREAD),
        needs=("log_return",),
    ),
    "macro_range": Feature(
        "ln(largest bar_range of the bar and the 59 earlier / mean bar_range before these)",
        "log",
        90,
        macro.OverLevel("bar_range", macro.LARGEST),
        needs=("bar_range",),
    ),
    "macro_reach": Feature(
        "ln(largest - smallest ln C of the bar, the 59 earlier and the one before)",
        "log",
        60,
        macro.MacroReach(),
        needs=("log_return",),
    ),
    "macro_volume": Feature(
        "ln(mean V of the bar and the 59 earlier / mean V before these)",
        "log",
        89,
        macro.MacroVolume(),
    ),
    **{
        bent: Feature(_BENT.format(name), "z", BEFORE_RETURN_Z)
        for bent, name in zip(VECTORS, VECTOR, strict=True)
    },
}
