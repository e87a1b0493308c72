"""A message as subject, text, HTML and pictures; pure."""

import math
from collections.abc import Iterator, Mapping
from itertools import islice

from markupsafe import Markup

from components.records import Alert, Finding, Message
from components.templates import fill, sentence
from components.words import clean, counted, level_word, moment, percent, probability, times

# The findings that get a card with a chart; the others follow in a table.
MAX_CARDS = 6

# Rows of that table, and notes of one alert: a mail stays readable with 10 000 instruments.
MAX_ROWS = 100
MAX_NOTES = 60

LONGEST_SUBJECT = 140

ORDER = {"market": 0, "anomaly": 1, "payments": 2, "correction": 3, "data": 4, "model": 5}

# These end with the trouble: nobody asks for silence about them.
TROUBLES = ("data", "model")
ALSO = {
    "market": "more market-wide day",
    "anomaly": "more alert",
    "payments": "more payment alert",
    "correction": "correction",
    "data": "data trouble",
    "model": "model trouble",
}

# What a reader takes in at a glance: what happened, how rare it is, whose move it was.
N_FIRST = 3

# alert id, symbol, ts
Key = tuple[str, str, str]


def ordered(message: Message) -> tuple[Alert, ...]:
    """The alerts as they are told: market-wide days, anomalies, corrections, data trouble."""
    return tuple(sorted(message.alerts, key=lambda alert: ORDER.get(alert.kind, len(ORDER))))


def subject(message: Message) -> str:
    """One line: the day, the first alert's headline, and what else there is."""
    day, told = date_of(message), headline(message)
    also = _also(ordered(message)[1:])
    told = clean(told, LONGEST_SUBJECT - len(also))
    return f"Tremor {day}: {told}{also}"


def headline(message: Message) -> str:
    """What comes first: the first alert's headline, or the all-clear."""
    alerts = ordered(message)
    return clean(alerts[0].headline if alerts else message.all_clear or "nothing to tell")


def date_of(message: Message) -> str:
    """The day that the message is about."""
    alerts = ordered(message)
    if alerts and alerts[0].kind in ("market", "anomaly", "payments"):
        return moment(alerts[0].ts, alerts[0].interval)
    return moment(message.as_of)


def _also(rest: tuple[Alert, ...]) -> str:
    kinds = [alert.kind for alert in rest]
    told = [
        ALSO[kind] if kind in TROUBLES else counted(kinds.count(kind), ALSO[kind])
        for kind in ORDER
        if kind in kinds
    ]
    return f" (+ {', '.join(told)})" if told else ""


def key_of(alert: Alert, finding: Finding) -> Key:
    """Which picture belongs to a finding."""
    return alert.id, finding.symbol, finding.ts


def carded(message: Message) -> Iterator[tuple[Alert, Finding]]:
    """The first findings of the message: those that are shown in full."""
    findings = ((alert, finding) for alert in ordered(message) for finding in alert.in_full)
    return islice(findings, MAX_CARDS)


def charts(message: Message) -> dict[Key, bytes]:
    """PNG pictures of the findings that are shown in full."""
    # matplotlib takes half a second to import, and a message without findings needs none.
    from components.charts import finding_png

    return {
        key_of(alert, finding): finding_png(finding.chart)
        for alert, finding in carded(message)
        if finding.chart is not None
    }


def html(message: Message, pictures: Mapping[Key, str], report: str = "") -> str:
    """The message as one HTML page for mail clients.

    Parameters
    ----------
    pictures : Mapping
        Source (``cid:...`` or ``data:...``) of each finding's picture.
    report : str
        Path of the run's report; empty when there is none.
    """
    return fill(
        "email.html.j2",
        message=message,
        subject=subject(message),
        headline=headline(message),
        date=date_of(message),
        alerts=[_shown(message, alert) for alert in ordered(message)],
        # Made here, not outside: taken as they are, whatever their length.
        pictures={key: Markup(source) for key, source in pictures.items()},  # noqa: S704
        report=report,
        max_rows=MAX_ROWS,
        max_notes=MAX_NOTES,
        n_first=N_FIRST,
    )


def _shown(message: Message, alert: Alert) -> dict[str, object]:
    n_cards = sum(owner is alert for owner, _ in carded(message))
    return {
        "record": alert,
        "cards": [(key_of(alert, found), found) for found in alert.in_full[:n_cards]],
        "rest": alert.told_apart[n_cards:],
        "folded": alert.folded,
    }


def text(message: Message, report: str = "") -> str:
    """The message as plain text."""
    n_left = MAX_CARDS
    lines = [f"Tremor {date_of(message)}: {headline(message)}", ""]
    for n, alert in enumerate(ordered(message)):
        lines += [clean(alert.headline), ""] if n else []
        lines += _alert_lines(alert, n_left)
        n_left -= min(n_left, len(alert.in_full))
    if message.budget:
        lines += [sentence(clean(message.budget)), ""]
    if report:
        lines += [f"Report: {clean(report)}", ""]
    return "\n".join(lines)


def _alert_lines(alert: Alert, n_cards: int) -> list[str]:
    notes = [f"  - {clean(note)}" for note in alert.notes[:MAX_NOTES]]
    if len(alert.notes) > MAX_NOTES:
        notes.append(f"  - and {len(alert.notes) - MAX_NOTES:,} more")
    # How the market moved comes before who moved beyond it.
    lines: list[str] = [*notes, ""] if alert.kind == "market" else []
    for finding in alert.in_full[:n_cards]:
        lines += [_row(finding), *(f"  - {clean(r)}" for r in finding.reasons), ""]
    lines += _listed("Also unusual:", alert, alert.told_apart[n_cards:])
    lines += _listed("Moved with the market:", alert, alert.folded)
    lines += notes if alert.kind != "market" else []
    # Silence about the market is asked for by hand.
    if alert.kind not in TROUBLES:
        command = f"python main.py alerts acknowledge {clean(alert.id)}"
        lines.append(f"To acknowledge: {command} (or: snooze, label)")
    return [*lines, ""]


def _listed(title: str, alert: Alert, found: tuple[Finding, ...]) -> list[str]:
    if not found:
        return []
    more = len(found) - MAX_ROWS
    show = f"  and {more:,} more: python main.py alerts show {clean(alert.id)}"
    rows = (f"  {_row(each)}" for each in found[:MAX_ROWS])
    return [title, *rows, *([show] if more > 0 else []), ""]


def _row(finding: Finding) -> str:
    move = percent(finding.move, sign=True)
    level = f"{level_word(finding.level)}, " if finding.level else ""
    is_move = math.isfinite(finding.sigmas)
    usual = f"{times(finding.sigmas)} times its usual move, " if is_move else ""
    told = f"{level}{usual}{probability(finding.p)}"
    return f"{clean(finding.symbol, 60):<12} {move:>8}  {told}"
