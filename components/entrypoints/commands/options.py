"""Options and arguments that several commands have."""

from typing import Annotated

import typer

SourceOption = Annotated[
    str | None, typer.Option(help="yahoo, binance, polygon, files, sample, ...")
]
SymbolsOption = Annotated[str | None, typer.Option(help="Instruments, comma-separated.")]
IntervalOption = Annotated[str | None, typer.Option(help="Length of a bar.")]
AsOfOption = Annotated[
    str | None, typer.Option(help="Judge what had closed by this instant, UTC. Default: now.")
]
KnownAtOption = Annotated[
    str | None, typer.Option(help="With what was known at this instant, UTC. Default: now.")
]
FirstDayOption = Annotated[str, typer.Option(help="First day wanted.")]
LaterThanOption = Annotated[str | None, typer.Option(help="Leave out candles before this day.")]
UntilOption = Annotated[str | None, typer.Option(help="Day after the last. Default: now.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Tell nobody; print what would be told.")
]
AddressOption = Annotated[
    str | None, typer.Option(help="Where it listens. Default: this machine alone.")
]
EngineOption = Annotated[
    str, typer.Option(help="python, or spark: instruments spread over a cluster.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="For a program to read.")]
SharedSeed = Annotated[int, typer.Option(min=0, max=2**31, help="Of plants and draws.")]
Rounds = Annotated[int, typer.Option(min=1, max=100, help="Panels planted, each otherwise.")]
