"""A real broker for the tests: Apache Kafka itself, one node on loopback, from Maven's jars.

Where those cannot be had, a small broker that speaks Kafka's protocol stands for it; only what
needs Apache Kafka by name is skipped then. ``python -m tests.kafka_server FOLDER`` starts Kafka on
localhost:9092, as ``make broker`` does.
"""

import importlib.util
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.proxies import free_port
from tests.terminal import stop

ROOT = Path(__file__).parents[1]

# Where `make test` puts the jars, or says what was in the way.
JARS = ROOT / ".venv" / "kafka"

NO_JAVA = "java or mvn is not installed"
NO_JARS = "the jars of Kafka or of Spark's connector cannot be had here"

# A small heap, and neither the second compiler nor threads for collecting: it starts in seconds.
# After a kill the node waits until its former self counts as gone, so that time is short below.
JVM = ["java", "-Xmx384m", "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]

CLUSTER = "dHJlbW9yLWZvci10ZXN0cw"

PROPERTIES = """\
process.roles=broker,controller
node.id=1
listeners=BROKER://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=BROKER://127.0.0.1:{port}
listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=BROKER
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:{controller}
log.dirs={folder}/data
auto.create.topics.enable=false
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=200
controller.quorum.election.timeout.ms=200
controller.quorum.election.backoff.max.ms=200
"""


def lacking(part):
    """What stands in the way of Kafka ("broker") or Spark's connector ("connector"), or ""."""
    if (JARS / part).is_dir():
        return "" if shutil.which("java") else NO_JAVA
    said = JARS / f"{part}.lacking"
    if said.exists():
        return NO_JARS + ": " + " ".join(said.read_text().split())[:200]
    return pytest.fail("the tests' Kafka is not fetched: run `make test` once")


def connector():
    """The jars that Spark needs for Kafka, as ``--jars`` takes them."""
    if said := lacking("connector"):
        pytest.skip(said)
    return ",".join(map(str, sorted((JARS / "connector").glob("*.jar"))))


class Server:
    """A broker on a folder, which keeps what it was given over ``kill`` and ``start``.

    ``session_s`` is the shortest after which it takes a silent reader for gone.
    """

    def __init__(self, folder, port=None):
        self.folder, self.port = Path(folder), port or free_port()
        self.log = self.folder / "log"
        self.process = None

    @property
    def servers(self):
        """What ``TREMOR_KAFKA_SERVERS`` holds."""
        return f"127.0.0.1:{self.port}"

    def start(self):
        """Start it, and wait until it answers."""
        with self.log.open("ab") as log:
            command = self.command()
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        client = AdminClient({"bootstrap.servers": self.servers, "log_level": 0})
        for _ in range(600):
            code = self.process.poll()
            assert code is None, f"ended with {code}: {self.log.read_text()[-2000:]}"
            try:
                client.list_topics(timeout=1)
            except KafkaException:
                time.sleep(0.1)
            else:
                return self
        raise AssertionError(f"it does not answer: {self.log.read_text()[-2000:]}")

    def kill(self):
        """End it at once, as a machine does that loses its power."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """End it in order."""
        stop(self.process, 20)


class Kafka(Server):
    """Apache Kafka, controller and broker in one process."""

    name, session_s = "Apache Kafka", 2.0

    def command(self):
        """The command that starts it, on a folder that is made ready."""
        jars = f"{JARS / 'broker'}/*"
        settings = self.folder / "kafka.properties"
        is_new = not settings.exists()
        controller = free_port()
        settings.write_text(
            PROPERTIES.format(port=self.port, controller=controller, folder=self.folder)
        )
        if is_new:
            ready = ["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", str(settings)]
            subprocess.run([*JVM, "-cp", jars, *ready], check=True, capture_output=True)
        return [*JVM, "-cp", jars, "kafka.Kafka", str(settings)]


class Noida(Server):
    """A small broker of another make."""

    name, session_s = "noida-db", 6.0

    def command(self):
        """The command that starts it."""
        # The program itself: the package's script starts it as a child, which outlives the script.
        program = Path(importlib.util.find_spec("noida_db").origin).with_name("noida-db")
        ports = ["--only", "kafka", "--kafka-port", str(self.port)]
        return [program, "start", "--data-dir", str(self.folder / "data"), *ports]


@contextmanager
def broker_server():
    """Start Kafka on an empty folder, or the small broker where Kafka cannot be had; stop it."""
    folder = tempfile.mkdtemp(prefix="tremor-kafka-")
    server = (Noida if lacking("broker") else Kafka)(folder).start()
    try:
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder)


def main(folder):
    """Run Kafka on localhost:9092 until it is interrupted."""
    if said := lacking("broker"):
        sys.exit(f"error: {said}")
    place = Path(folder).absolute()
    place.mkdir(parents=True, exist_ok=True)
    server = Kafka(place, port=9092).start()
    sys.stdout.write("Kafka answers: TREMOR_KAFKA_SERVERS=localhost:9092; Ctrl-C ends it\n")
    sys.stdout.flush()
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    with suppress(KeyboardInterrupt):
        server.process.wait()
    server.stop()


if __name__ == "__main__":
    main(sys.argv[1])
