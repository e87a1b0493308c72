"""How a command ends: its documented exit code, and one line of what the user can mend."""

from collections.abc import Callable

import typer

from components.errors import TremorError


def exit_code(act: Callable[[], int | None], see: str) -> int:
    """Do what a command line says; a bug keeps its traceback.

    Parameters
    ----------
    act : callable
        The command line's app, which raises what it cannot do.
    see : str
        Where help stands, for who wrote wrong arguments.
    """
    try:
        return act() or 0
    except TremorError as error:
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        return 2
    except typer.Exit as leaving:
        return leaving.exit_code
    except typer.Abort:
        return 2
    except Exception as error:
        # Wrong arguments, as the parser tells them.
        if not hasattr(error, "format_message"):
            raise
        said = error.format_message().rstrip(".")
        stop = "" if said.endswith("?") else "."
        typer.echo(f"error: {said}{stop} {see}", err=True)
        return 2
