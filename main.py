"""Tremor: what was unusual in the market, told once, at the alarm rate that you chose."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from components.records import RunSummary
    from components.settings import Settings
    from components.steps.runner import Runner


def daily(
    settings: Settings, as_of: pd.Timestamp, run: Runner | None = None, *, dry: bool = False
) -> RunSummary:
    """Judge the bars that closed before ``as_of`` and tell what is unusual.

    Safe to repeat: every write is keyed, and an alert is told once.
    """
    # Imported here, so that `python main.py --help` answers at once.
    from components import steps
    from components.steps.runner import Runner
    from components.wiring import open_parts

    run = run or Runner()
    with open_parts(settings, as_of, is_dry=dry, progress=run.progress) as parts:
        as_of = parts.run.as_of
        for wanted in run(steps.plan, parts, as_of):  # which bars are missing
            raw = run(steps.fetch, parts, wanted)  # source -> raw lake
            candles = run(steps.refine, parts, raw)  # -> processed lake
            run(steps.load, parts, candles)  # -> warehouse
        run(steps.compare, parts, as_of)  # with a second source, where there is one

        run(steps.market, parts, as_of)  # what all did together, stored before any is judged
        carried, pieces = run(steps.recall, parts, as_of)  # carried state + new bars, nothing later
        for piece in pieces:
            carried, judged = run(steps.judge, parts, carried, piece)
            run(steps.record, parts, judged, as_of)
        run(steps.keep, parts, carried, as_of)

        alerts = run(steps.tell, parts, as_of)
        run(steps.retire, parts, as_of)  # minutes beyond what is kept leave
        return run(steps.close, parts, alerts)  # report, manifest, run record, heartbeat


if __name__ == "__main__":
    from components.entrypoints.cli import command_line

    command_line(daily)
