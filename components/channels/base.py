"""What every channel does."""

from typing import Protocol

from components.records import Message


class Channel(Protocol):
    """A way to tell someone.

    Retries are the caller's: a channel tries once and says in its error whether another try
    may help.
    """

    @property
    def name(self) -> str:
        """The channel's name in the registry and in ``deliveries``."""

    def send(self, message: Message) -> None:
        """Deliver ``message`` once.

        Raises
        ------
        ChannelError
            Nobody has the message.
        PartlyDelivered
            Some recipients have it, the others refused it.
        """

    def probe(self) -> str:
        """Go as far as one can without telling anyone anything; give what was seen, in words.

        Raises
        ------
        ChannelError
            A message would not get through.
        """
