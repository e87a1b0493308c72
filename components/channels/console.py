"""The message on a stream: in colours on a terminal, as plain text elsewhere."""

from dataclasses import dataclass
from typing import TextIO

from components.channels import render
from components.errors import ChannelError
from components.records import Message


@dataclass(frozen=True)
class Console:
    """Each message as text on ``stream``."""

    stream: TextIO
    report: str = ""
    name: str = "console"

    def probe(self) -> str:
        """Nothing can be in the way; see ``Channel``."""
        return "on standard output"

    def send(self, message: Message) -> None:
        """Write the message; see ``Channel``."""
        text = render.text(message, self.report)
        try:
            if self.stream.isatty():
                _write_coloured(self.stream, text)
            else:
                self.stream.write(_writable(text, self.stream))
            self.stream.flush()
        except (OSError, ValueError) as error:
            raise ChannelError(f"the console's stream is closed: {error}") from error


def _writable(text: str, stream: TextIO) -> str:
    """The text with a question mark for each character that the stream cannot write."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


def _write_coloured(stream: TextIO, text: str) -> None:
    # Only a terminal needs rich.
    from rich.console import Console as Terminal
    from rich.text import Text

    # ``Text`` takes the words as they are: markup from outside stays what it is.
    coloured = Text(_writable(text, stream))
    coloured.highlight_regex(r"\ATremor .*", "bold")
    coloured.highlight_regex(r"(?m)^\S+ +-\d\S* %", "bold red")
    coloured.highlight_regex(r"(?m)^\S+ +\+\d\S* %", "bold blue")
    coloured.highlight_regex(r"\bHIGH\b", "bold")
    coloured.highlight_regex(r"python main\.py [a-z]+ [a-z]+ \S+", "cyan")
    Terminal(file=stream, soft_wrap=True).print(coloured)
