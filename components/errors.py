"""Every error raised on purpose.

TremorError                what the user can mend: one line, exit code 2
    SettingsError          a setting is missing, malformed or contradicts another
    UnknownName            no registered source, detector or channel has that name
    InvalidSymbol          an instrument name that no market uses
    NotEnoughBars          fewer bars than a formula needs
    SourceError            a provider did not answer as wanted (``symbol`` says for what)
        SourceUnavailable  a time-out, a 5xx, a refused connection: worth another try
        RateLimited        the provider asks for patience: worth another try, later
        SymbolNotFound     the provider knows no such instrument: not worth another try
        SourceFormatError  the reply is not in a shape that is known
        FeedRefused        the venue does not stream to us; asking again does not help
    StoreError             the lake or the warehouse did not do what was asked
        LakeError
        WarehouseError
        WriteOnceError     an object that is written once exists with other bytes
        NotStored          nothing of that name is in the warehouse
        FeatureStoreError  the feature store or its server; what came from there is not believed
    BrokerError            Kafka did not do what was asked (``is_transient``: it may yet)
    ParametersError        the file of the views' parameters is not what it should be
    ChannelError           a message could not be delivered (``retryable``: another try may help)
        PartlyDelivered    some recipients refused it, the others have it
    AnotherRunAtWork       the warehouse's run lock is held: step aside, exit code 0
"""


class TremorError(Exception):
    """What went wrong, where, and the remedy, in one line."""


class SettingsError(TremorError):
    """A setting is missing, malformed or contradicts another."""


class UnknownName(TremorError):
    """No registered part has that name; the known ones are listed."""

    def __init__(self, kind: str, name: str, known: list[str]) -> None:
        self.kind, self.name, self.known = kind, name, sorted(known)
        super().__init__(f"no {kind} is called {name!r}. Known: {', '.join(self.known)}")


class InvalidSymbol(TremorError):
    """An instrument name that no market uses."""


class NotEnoughBars(TremorError):
    """Fewer bars than a formula needs; both numbers are kept."""

    def __init__(
        self, what: str, needed: int, got: int, otherwise: str = "ask for a shorter window"
    ) -> None:
        self.what, self.needed, self.got = what, needed, got
        super().__init__(
            f"{what} needs at least {needed} bars, got {got}. "
            f"Backfill more history, or {otherwise}."
        )


class SourceError(TremorError):
    """A provider did not answer as wanted for one symbol."""

    def __init__(self, message: str, symbol: str = "") -> None:
        self.symbol = symbol
        super().__init__(message)


class SourceUnavailable(SourceError):
    """A time-out, a 5xx, a refused connection: worth another try."""


class RateLimited(SourceUnavailable):
    """The provider asks for patience (HTTP 429)."""


class SymbolNotFound(SourceError):
    """The provider knows no such instrument; asking again does not help."""


class SourceFormatError(SourceError):
    """The reply is not in a shape that is known."""


class FeedRefused(SourceError):
    """The venue does not stream to us; asking again does not help."""


class StoreError(TremorError):
    """The lake or the warehouse did not do what was asked."""


class LakeError(StoreError):
    """The lake could not be read or written."""


class WarehouseError(StoreError):
    """The warehouse could not be reached, read or written."""


class WriteOnceError(LakeError):
    """An object that is written once exists already with other bytes."""


class NotStored(StoreError):
    """Nothing of that name is in the warehouse."""

    def __init__(self, what: str, name: str) -> None:
        self.what, self.name = what, name
        super().__init__(f"no {what} is called {name!r}.")


class FeatureStoreError(StoreError):
    """The feature store or its server did not answer, or not as it should."""


class ModelError(TremorError):
    """A trained model that cannot be found, read or used; the sentence goes on from its name."""


class BrokerError(TremorError):
    """Kafka did not do what was asked; ``is_transient`` says whether another try may help."""

    def __init__(self, message: str, *, is_transient: bool = False) -> None:
        self.is_transient = is_transient
        super().__init__(message)


class ParametersError(TremorError):
    """The file of the micro and macro views' parameters cannot be used."""


class ChannelError(TremorError):
    """A message could not be delivered; ``retryable`` says whether another try may help."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        self.retryable = retryable
        super().__init__(message)


class PartlyDelivered(ChannelError):
    """Some recipients refused the message, the others have it: record it and say so."""


class AnotherRunAtWork(TremorError):
    """The warehouse's run lock is held by another run."""
