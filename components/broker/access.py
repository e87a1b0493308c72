"""The way to a broker, its topics, and what is said when it does not work."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from pydantic import SecretStr

from components.errors import BrokerError, SettingsError
from components.words import clean

log = logging.getLogger(__name__)

# What no waiting mends: who may not in today may not in tomorrow.
HOPELESS: Final = {
    KafkaError._AUTHENTICATION,  # noqa: SLF001
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
}

# So long, s, a broker is asked whether it is there.
REACH_S: Final = 10.0


class Topics(NamedTuple):
    """The names of the topics."""

    candles: str
    verdicts: str
    alerts: str
    dead_letters: str

    @classmethod
    def under(cls, prefix: str) -> "Topics":
        """Name them: ``tremor.candles``, ``tremor.dead-letters``."""
        return cls(*(f"{prefix}.{name.replace('_', '-')}" for name in cls._fields))


@dataclass(frozen=True)
class Access:
    """The way to a broker.

    Parameters
    ----------
    servers : str
        ``host:port,host:port``: some of the brokers, from which the client learns of the others.
    user, password : str, optional
        With them the way is encrypted (SASL over TLS), without them it is not.
    mechanism : str, default="PLAIN"
        How the user proves who he is.
    patience_s : float, default=30
        So long an answer is waited for.
    """

    servers: str
    user: str = ""
    password: str = ""
    mechanism: str = "PLAIN"
    patience_s: float = 30.0

    @classmethod
    def of(
        cls,
        *,
        kafka_servers: str = "",
        kafka_user: str = "",
        kafka_password: SecretStr | None = None,
        kafka_mechanism: str = "PLAIN",
        timeout_s: float = 30.0,
        **_: object,
    ) -> "Access":
        """Say the way as the settings have it.

        Raises
        ------
        SettingsError
            When no broker is named, or a user without a password.
        """
        password = kafka_password.get_secret_value() if kafka_password else ""
        if not kafka_servers:
            raise SettingsError("TREMOR_KAFKA_SERVERS is not set. Write host:port,host:port")
        if bool(kafka_user) != bool(password):
            raise SettingsError(
                "TREMOR_KAFKA_USER and TREMOR_KAFKA_PASSWORD go together. Set both, or none."
            )
        return cls(kafka_servers, kafka_user, password, kafka_mechanism, timeout_s)

    def __repr__(self) -> str:
        """Say where, and not who."""
        return f"Access({self.servers!r})"

    def options(self) -> dict[str, Any]:
        """What every client is given."""
        said: dict[str, Any] = {
            "bootstrap.servers": self.servers,
            "client.id": "tremor",
            # What a connection lacks ``Troubles`` hears; the client would say it each second.
            "logger": log,
            "log_level": 2,
            "reconnect.backoff.max.ms": 2000,
            "allow.auto.create.topics": False,
        }
        if self.user:
            said |= {"security.protocol": "SASL_SSL", "sasl.mechanism": self.mechanism}
            said |= {"sasl.username": self.user, "sasl.password": self.password}
        return said

    def failed(self, what: str, why: KafkaError) -> BrokerError:
        """Say in one line what did not work, and where."""
        said = clean(why.str(), 300).rstrip(".")
        remedy = "Check TREMOR_KAFKA_SERVERS, TREMOR_KAFKA_USER and the broker."
        message = f"Kafka at {self.servers}: {what}: {said}. {remedy}"
        return BrokerError(message, is_transient=why.code() not in HOPELESS and not why.fatal())


class Troubles:
    """Hears what a client has to say about its connections; the hopeless is not talked over."""

    def __init__(self) -> None:
        self.worst: KafkaError | None = None

    def __call__(self, error: KafkaError) -> None:
        """Hear one."""
        before = self.worst
        # That one connection ended says less than whatever else was heard.
        is_less = before is not None and error.code() == KafkaError._TRANSPORT  # noqa: SLF001
        if before is None or (before.code() not in HOPELESS and not is_less):
            self.worst = error

    def taken(self) -> KafkaError | None:
        """What was heard since this was last asked."""
        said, self.worst = self.worst, None
        return said


def make_topics(access: Access, names: Sequence[str], n_partitions: int = 4) -> None:
    """Make the topics that are not there, with as many copies as the broker makes by itself.

    Raises
    ------
    BrokerError
        When the broker does not answer, or does not let us.
    """
    troubles = Troubles()
    options: dict[str, Any] = {**access.options(), "error_cb": troubles}
    admin = AdminClient(options)
    lacking = set(names) - _there(access, admin, troubles)
    for name in sorted(lacking):
        for n_copies in (-1, 1):
            refused = _made(admin, NewTopic(name, n_partitions, n_copies), access.patience_s)
            if refused is None or refused.code() == KafkaError.TOPIC_ALREADY_EXISTS:
                break
            # Some brokers have no number of their own.
            if n_copies == 1 or refused.code() != KafkaError.INVALID_REPLICATION_FACTOR:
                raise access.failed(f"topic {name} cannot be made", refused)

    until = time.monotonic() + access.patience_s
    while set(names) - _there(access, admin, troubles):
        if time.monotonic() > until:
            late = KafkaError(KafkaError._TIMED_OUT, "no leader yet")  # noqa: SLF001
            raise access.failed("the topics are not ready", late)
        time.sleep(0.05)


def _there(access: Access, admin: AdminClient, troubles: Troubles) -> set[str]:
    """The topics that can be written to."""
    try:
        found = admin.list_topics(timeout=access.patience_s).topics
    except KafkaException as error:
        why = troubles.worst or error.args[0]
        raise access.failed("the topics cannot be listed", why) from None
    return {
        name
        for name, topic in found.items()
        if topic.partitions and all(each.leader >= 0 for each in topic.partitions.values())
    }


def reached(access: Access) -> str:
    """Ask the broker whether it answers; give what was seen, in words.

    Raises
    ------
    BrokerError
        When it does not.
    """
    troubles = Troubles()
    options: dict[str, Any] = {**access.options(), "error_cb": troubles}
    try:
        found = AdminClient(options).list_topics(timeout=min(access.patience_s, REACH_S))
    except KafkaException as error:
        raise access.failed("no answer", troubles.worst or error.args[0]) from None
    return f"{access.servers} answers with {len(found.brokers)} brokers"


def _made(admin: AdminClient, topic: NewTopic, patience_s: float) -> KafkaError | None:
    for done in admin.create_topics([topic], request_timeout=patience_s).values():
        try:
            done.result()
        except KafkaException as error:
            found: KafkaError = error.args[0]
            return found
    return None
