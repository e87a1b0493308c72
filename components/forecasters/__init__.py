"""Forecasters: one file and one line here each, imported when it is asked for."""

from importlib import import_module
from typing import Final, cast

from components.errors import UnknownName
from components.forecasters.base import Forecaster, Trainable

__all__ = ["FORECASTERS", "TRAINED", "Forecaster", "Trainable", "forecaster_named", "recipe_named"]

FORECASTERS: Final[dict[str, str]] = {
    "boosted": "components.forecasters.boosted:Boosted",
    "deviation": "components.forecasters.deviation:Deviation",
    "lstm": "components.forecasters.lstm:Lstm",
    "ridge": "components.forecasters.ridge:Ridge",
    "seasonal_naive": "components.forecasters.seasonal_naive:SeasonalNaive",
    "slot_ewma": "components.forecasters.slot_ewma:SlotEwma",
}

# Recipes, to be fitted before they forecast; the others learn as they go.
TRAINED: Final = ("boosted", "lstm")


def recipe_named(name: str) -> Trainable:
    """Make the recipe of that name, one of ``TRAINED``, as it comes.

    Raises
    ------
    UnknownName
        When none has that name.
    """
    if name not in TRAINED:
        raise UnknownName("fitted forecaster", name, list(TRAINED))
    return cast("Trainable", _made(name))


def forecaster_named(name: str) -> Forecaster:
    """Make the forecaster of that name, none of ``TRAINED``, as it comes.

    Raises
    ------
    UnknownName
        When no forecaster has that name.
    """
    if name not in FORECASTERS:
        raise UnknownName("forecaster", name, list(FORECASTERS))
    return cast("Forecaster", _made(name))


def _made(name: str) -> object:
    module, _, attribute = FORECASTERS[name].partition(":")
    return getattr(import_module(module), attribute)()
