"""Training anew, under Prefect: what `train` and `models` do, in the environment that can."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from components.entrypoints import tasks
from components.errors import ModelError

MAIN = Path(__file__).parents[2] / "main.py"

# Where nobody is champion yet.
FIRST = "gmm"


def retrained(named: tuple[str, ...], *, is_promoted: bool) -> tuple[str, str]:
    """Train each detector as a task; give the state's name and what it came to.

    Parameters
    ----------
    named : tuple of str
        Detectors; none for the champion's own kind.
    is_promoted : bool
        Whether a challenger that has earned it becomes champion at once.

    Raises
    ------
    ModelError
        None of them could be trained; what was in the way, in the words of the command.
    """
    told, failed = [], []
    for detector in named or (_kind_of_champion(),):
        try:
            told.append(_trained(detector, is_promoted=is_promoted))
        except ModelError as error:
            failed.append(f"{detector}: {tasks.line(error).removeprefix('error: ')}")
    if not told:
        raise ModelError("; ".join(failed))
    return "DoneInPart" if failed else "Completed", "; ".join([*told, *failed])


def _trained(detector: str, *, is_promoted: bool) -> str:
    """One detector: what its training came to, in a sentence."""
    from prefect import task
    from prefect.cache_policies import NO_CACHE

    call = tasks.Call()
    state = task(name=f"train {detector}", cache_policy=NO_CACHE, persist_result=False)(
        lambda: call.of(lambda: json.loads(_answer("train", detector, "--json")))
    )(return_state=True)
    if call.error is not None:
        raise call.error
    state.result()  # raises what a bug raised
    said: dict[str, Any] = call.result
    lacking = [each["name"] for each in said["conditions"] if not each["is_met"]]
    found = f"{detector} version {said['version']} finds {said['figures']['recall_planted']:.1%}"
    if lacking:
        return f"{found}; not to be promoted: {', '.join(lacking)}?"
    if not is_promoted:
        return f"{found}; may judge: python main.py models promote {said['version']}"
    _answer("models", "promote", said["version"])
    return f"{found}; is the champion now"


def _kind_of_champion() -> str:
    models = json.loads(_answer("models", "list", "--json"))["models"]
    champions = [each["detector"] for each in models if "champion" in each["alias"].split(",")]
    return champions[0] if champions else FIRST


def _answer(*arguments: str) -> str:
    """What ``python main.py ...`` prints, in the environment around this one.

    Raises
    ------
    ModelError
        It ended otherwise; with its line of what to mend, or the end of its traceback.
    """
    # MLflow and Keras are not in Prefect's environment, which lies inside the other.
    python = Path(sys.prefix).parent / "bin" / "python"
    if not python.exists():
        raise ModelError(f"{python} is not there. Run `make models`.")
    done = subprocess.run(  # noqa: S603 - names are checked by the command
        [str(python), str(MAIN), *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return done.stdout
    lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no word of why"]
    errors = [line for line in lines if line.startswith("error: ")]
    raise ModelError((errors or lines)[-1])
