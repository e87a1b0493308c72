"""Options and arguments that several commands have."""

from typing import Annotated

import typer

SourceOption = Annotated[
    str | None, typer.Option(help="yahoo, binance, polygon, files, sample, ...")
]
SymbolsOption = Annotated[str | None, typer.Option(help="Instruments, comma-separated.")]
IntervalOption = Annotated[str | None, typer.Option(help="Length of a bar.")]

EngineOption = Annotated[
    str, typer.Option(help="python, or spark: instruments spread over a cluster.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="For a program to read.")]
SharedSeed = Annotated[int, typer.Option(min=0, max=2**31, help="Of plants and draws.")]
Rounds = Annotated[int, typer.Option(min=1, max=100, help="Panels planted, each otherwise.")]
