"""Who makes the bands of a data set: the champion of its trials, or whom the settings name."""

import io

import numpy as np

from components.bands import Band
from components.errors import LakeError, ModelError
from components.forecasters import TRAINED, Forecaster, forecaster_named, recipe_named
from components.steps.parts import Parts

# Before any trial: no fit, no wait, and close to the best on the data that it was tried on.
FIRST = "slot_ewma"

CHAMPION = "champion"

NEWEST = """
select forecaster, model from forecast_trials
where data_set = %(data_set)s and "interval" = %(interval)s and known_at <= %(as_of)s
  and (is_champion = 1 or not %(is_crowned)s) and (forecaster = %(name)s or %(name)s = 'champion')
order by known_at desc limit 1
"""


def band_of(parts: Parts, data_set: str) -> tuple[str, Band, str]:
    """The forecaster's name, its band at the stated coverage, and its model's name ("": none).

    Raises
    ------
    ModelError
        A fitted forecaster was named, and there is none, or its file is not as it should be.
    """
    named = parts.watch.forecaster
    rows = parts.warehouse.query(
        NEWEST,
        {
            "data_set": data_set,
            "interval": parts.watch.interval,
            "as_of": parts.run.as_of.to_pydatetime(),
            "name": named,
            "is_crowned": named == CHAMPION,
        },
    )
    name, model = (FIRST if named == CHAMPION else named), ""
    if len(rows):
        name, model = str(rows["forecaster"].iloc[0]), str(rows["model"].iloc[0] or "")
    is_fitted = name in TRAINED
    forecaster = _restored(parts, data_set, name, model) if is_fitted else forecaster_named(name)
    return name, Band(forecaster, miss=round(1 - parts.watch.coverage, 12)), model


def _restored(parts: Parts, data_set: str, name: str, model: str) -> Forecaster:
    again = f"Run `python main.py train forecasters`, or set TREMOR_FORECASTER={FIRST}."
    if not model:
        raise ModelError(f"{data_set}: no fitted {name} is kept. {again}")
    try:
        with np.load(io.BytesIO(parts.lake.get_forecaster(data_set, model))) as arrays:
            return recipe_named(name).restore({key: arrays[key] for key in arrays.files})
    except (LakeError, OSError, ValueError, KeyError) as error:
        reason = f"the {name} {model} cannot be read ({error})"
        raise ModelError(f"{data_set}: {reason}. {again}") from None
