"""The command line. Heavy modules are imported by the command that needs them."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from components import logs
from components.entrypoints.commands import alerts, daily, keys, looking, models, services, studies
from components.entrypoints.exits import exit_code
from components.errors import AnotherRunAtWork

if TYPE_CHECKING:
    from components.records import RunSummary

app = typer.Typer(
    add_completion=False,
    no_args_is_help=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="What was unusual in the market, told once, at the alarm rate that you chose.",
)

# In the order in which the help lists them.
for command in (
    daily.run,
    daily.backfill,
    daily.replay,
    daily.features,
    studies.backtest,
    services.stream,
    looking.doctor,
    looking.status,
    studies.evaluate,
    studies.forecast,
    models.train,
    services.serve,
    services.dashboard,
):
    app.command()(command)
for group, name in ((models.models, "models"), (keys.keys, "keys"), (alerts.alerts, "alerts")):
    app.add_typer(group, name=name)


def command_line(pipeline: Callable[..., "RunSummary"]) -> None:
    """Parse the arguments, do what they say, and exit with the documented code.

    What the user can mend is one line and exit code 2; a bug keeps its traceback.
    """
    logs.start(sys.stderr)
    sys.exit(exit_code(lambda: _done(pipeline), "See `python main.py --help`."))


def _done(pipeline: Callable[..., "RunSummary"]) -> int | None:
    try:
        code: int | None = app(standalone_mode=False, obj=pipeline)
    except AnotherRunAtWork as error:
        typer.echo(str(error), err=True)
        return 0
    return code


@app.callback(invoke_without_command=True)
def default(context: typer.Context) -> int | None:
    """What was unusual in the market, told once, at the alarm rate that you chose.

    Without a command: the daily pipeline once, as ``run``.
    """
    if context.invoked_subcommand is None:
        return daily.run(context)
    return None
