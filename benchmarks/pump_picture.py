"""A pump as it was caught: its minutes, and how unusual each was."""

from pathlib import Path

import numpy as np
from matplotlib.dates import DateFormatter
from matplotlib.figure import Figure

from benchmarks.pump_events import Event
from benchmarks.pump_judge import alarms
from components.ensemble import Judged

# Minutes shown before the pump and after it.
BEFORE, AFTER = np.timedelta64(240, "m"), np.timedelta64(90, "m")


def draw(event: Event, found: Judged, rate: float, path: Path) -> None:
    """Closes above, -log10 p below with the stated rate; the alarm is a line through both."""
    ts, begin = found.panel.ts[0], event.begins.tz_localize(None).to_datetime64()
    shown = (ts >= begin - BEFORE) & (ts <= begin + AFTER)
    figure = Figure(figsize=(7, 3.8), dpi=80, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    above.step(ts[shown], found.panel.field("close")[0][shown], where="post", color="#334", lw=1)
    above.set_ylabel("close, BTC")
    above.set_title(f"{event.symbol}, announced {event.announced:%Y-%m-%d %H:%M} UTC", fontsize=10)
    below.plot(ts[shown], -np.log10(found.agreed_p[0][shown]), ".", color="#334", ms=3)
    below.axhline(-np.log10(rate), color="#b33", lw=0.8, ls="--", label="the stated rate")
    below.set_ylabel("-log10 p")
    below.legend(fontsize=8, loc="upper left", frameon=False)
    for axes in (above, below):
        for alarm in alarms(found)[:1]:
            axes.axvline(alarm.tz_localize(None).to_datetime64(), color="#b33", lw=1)
    below.xaxis.set_major_formatter(DateFormatter("%H:%M"))
    below.set_xlabel("UTC")
    figure.savefig(path, metadata={"Software": None})
