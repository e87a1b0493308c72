"""The log: lines for a person at a terminal, one JSON object a line for a machine."""

import logging
from typing import TextIO

from pythonjsonlogger.json import JsonFormatter

FOR_A_PERSON = "%(asctime)s %(levelname)s %(name)s %(message)s"

log = logging.getLogger("tremor")


class _OfRun(logging.Filter):
    """Writes into each record which run it belongs to, whichever thread made it."""

    # A process works at one run at a time.
    run = ""

    def filter(self, record: logging.LogRecord) -> bool:
        if self.run:
            record.run = self.run
        return True


_of_run = _OfRun()


def start(stream: TextIO) -> None:
    """Log to ``stream``: as text when it is a terminal, else as JSON.

    The keys of a JSON line are ``time`` (UTC), ``level``, ``name``, ``message``, ``run`` once a
    run is at work, and what the line is about: ``event`` "step" has ``step`` and ``seconds``,
    ``event`` "heartbeat" has ``command``, ``exit_code``, ``alerts`` and ``seconds``.
    """
    handler = logging.StreamHandler(stream)
    handler.addFilter(_of_run)
    handler.setFormatter(
        logging.Formatter(FOR_A_PERSON)
        if stream.isatty()
        else JsonFormatter(
            "{levelname}{name}{message}",
            style="{",
            rename_fields={"levelname": "level"},
            timestamp="time",
        )
    )
    logging.basicConfig(handlers=[handler])
    # What a library warns of is a line of the log like any other.
    logging.captureWarnings(True)
    log.setLevel(logging.INFO)


def name_run(run_id: str) -> None:
    """Let every later line say that it belongs to this run."""
    _of_run.run = run_id
