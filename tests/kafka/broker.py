"""A real Apache Kafka for the tests: one KRaft node on loopback that can be stopped, killed and started again.

`make kafka-jars` brings the jars. In a test ask for the fixture `kafka`; to play by hand run
`make kafka` (or `python -m tests.kafka.broker`), which stays in the foreground until Ctrl-C.
"""

import asyncio
import base64
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from tests.ports import free_ports
from tests.servers import RunningServer

ROOT = Path(__file__).resolve().parents[2]
JARS = ROOT / ".cache" / "kafka" / "jars"
START_DEADLINE_SECONDS = 60.0
STOP_DEADLINE_SECONDS = 20.0


class BrokerFailedError(RuntimeError):
    """The broker could not be prepared or did not answer in time; the message carries the end of its log."""


class KafkaBroker(RunningServer):
    """One Kafka node (broker and controller in one process) in a directory of its own.

    Every method blocks; a coroutine calls it as `await asyncio.to_thread(broker.kill)`, so that the clients
    on its loop keep running meanwhile. Ports and data directory are kept across `stop`, `kill` and `start`.
    Not for use by two threads at once.

    Args:
        data_dir: where configuration, data and log go; without it a temporary one that `close` removes.
        properties: server properties in addition to, or instead of, the default ones.
        detour: a port where somebody passes on what comes to `detour_port`. Clients that begin there are told to
            come that way ever after.
        listeners: further listeners by name (capitals), each with the protocol it speaks; found by `address`.
        format_arguments: what the storage is formatted with besides, such as SCRAM users.
        java_options: further options of the broker's JVM.

    """

    def __init__(
        self,
        data_dir: Path | None = None,
        *,
        properties: Mapping[str, str] | None = None,
        detour: int | None = None,
        listeners: Mapping[str, str] | None = None,
        format_arguments: Sequence[str] = (),
        java_options: Sequence[str] = (),
    ) -> None:
        self._owns_dir = data_dir is None
        self.data_dir = Path(tempfile.mkdtemp(prefix="cordboard-kafka-")) if data_dir is None else data_dir
        self.log_file = self.data_dir / "broker.log"
        self._listeners = dict(listeners or {})
        self._port, self._controller_port, self.detour_port, *further = free_ports(3 + len(self._listeners))
        self._ports = dict(zip(self._listeners, further, strict=True))
        self.detour = detour
        self._properties = dict(properties or {})
        self._format_arguments = list(format_arguments)
        self._java_options = list(java_options)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap_servers(self) -> str:
        """Host and port, as every Kafka client wants them."""
        return f"127.0.0.1:{self._port}"

    def address(self, listener: str, *, host: str = "127.0.0.1") -> str:
        """Host and port of one of the further listeners; every one of them sends clients on to 127.0.0.1."""
        return f"{host}:{self._ports[listener]}"

    @property
    def pid(self) -> int | None:
        """Process id of the running broker; None while it is down."""
        return self._process.pid if self.is_running and self._process is not None else None

    @property
    def is_running(self) -> bool:
        """Whether the process lives (not: whether it answers)."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Format the storage at the first time, start the process and wait until it answers.

        Raises BrokerFailedError with the end of the log when that takes longer than `START_DEADLINE_SECONDS`.
        """
        if self.is_running:
            return
        config = self.data_dir / "server.properties"
        if not config.exists():
            self._format(config)
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command line, no shell
                java_command("kafka.Kafka", str(config), options=self._java_options),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait_until_it_answers()

    def stop(self) -> None:
        """End the broker in order (SIGTERM); kills it when it does not follow within the deadline."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the broker as a power cut of its process would: SIGKILL, nothing flushed or handed over."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Start again on the same data and the same port; a running broker is stopped in order first."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop the broker and remove what it left on disk (only in a directory that it made itself)."""
        self.stop()
        if self._owns_dir:
            shutil.rmtree(self.data_dir, ignore_errors=True)

    def _format(self, config: Path) -> None:
        """Write the configuration and let Kafka's own tool prepare the log directory."""
        text = "".join(f"{key}={value}\n" for key, value in self._server_properties().items())
        draft = config.with_suffix(".draft")
        draft.write_text(text, encoding="utf-8")
        command = java_command(
            "kafka.tools.StorageTool",
            "format",
            "--ignore-formatted",
            "--cluster-id",
            _cluster_id(),
            "--config",
            str(draft),
            *self._format_arguments,
        )
        with self.log_file.open("ab") as log:
            done = subprocess.run(  # noqa: S603 - our own command line, no shell
                command, stdout=log, stderr=log, timeout=START_DEADLINE_SECONDS, check=False
            )
        if done.returncode != 0:
            raise BrokerFailedError(f"formatting Kafka's storage failed:\n{self.log_tail()}")
        draft.rename(config)

    def _server_properties(self) -> dict[str, str]:
        """One node that needs no second one: every replication factor is 1, and groups form without delay."""
        listeners = f"PLAINTEXT://127.0.0.1:{self._port},CONTROLLER://127.0.0.1:{self._controller_port}"
        advertised = f"PLAINTEXT://127.0.0.1:{self._port}"
        if self.detour is not None:
            listeners += f",DETOUR://127.0.0.1:{self.detour_port}"
            advertised += f",DETOUR://127.0.0.1:{self.detour}"
        further = "".join(f",{name}://{self.address(name)}" for name in self._listeners)
        protocols = "".join(f",{name}:{protocol}" for name, protocol in self._listeners.items())
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "controller.listener.names": "CONTROLLER",
            "listeners": listeners + further,
            "advertised.listeners": advertised + further,
            "listener.security.protocol.map": f"PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,DETOUR:PLAINTEXT{protocols}",
            "log.dirs": str(self.data_dir / "data"),
            "auto.create.topics.enable": "false",
            "default.replication.factor": "1",
            "min.insync.replicas": "1",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "share.coordinator.state.topic.num.partitions": "4",
            "group.initial.rebalance.delay.ms": "0",
            # a test of a dead group member cannot wait for the default of six seconds
            "group.min.session.timeout.ms": "1000",
            # how long a broker that was killed is waited for before it may come back
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            # half of the heap would go to the log cleaner's default buffer
            "log.cleaner.dedupe.buffer.size": str(8 * 1024 * 1024),
            **self._properties,
        }

    def _wait_until_it_answers(self) -> None:
        """Ask for metadata until the node lists itself, which it does once it takes requests."""
        deadline = time.monotonic() + START_DEADLINE_SECONDS
        # a thread of its own: the caller's thread may be running a loop already
        with ThreadPoolExecutor(max_workers=1) as apart:
            while time.monotonic() < deadline:
                if not self.is_running:
                    raise BrokerFailedError(f"Kafka ended while starting:\n{self.log_tail()}")
                if apart.submit(asyncio.run, _answers(self.bootstrap_servers)).result():
                    return
                time.sleep(0.1)
        self.kill()
        raise BrokerFailedError(f"Kafka did not answer within {START_DEADLINE_SECONDS:.0f} s:\n{self.log_tail()}")

    def _end(self, how: signal.Signals) -> None:
        """Signal the process group that `start` opened, and reap the process."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        try:
            process.wait(timeout=STOP_DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=STOP_DEADLINE_SECONDS)


async def _answers(bootstrap_servers: str) -> bool:
    """Whether a node takes a metadata request and knows itself as a live broker."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap_servers, request_timeout_ms=2_000)
    try:
        with socket.create_connection(_address(bootstrap_servers), timeout=1):
            pass  # a plain connect first: the client logs an error for every refused one
        await client.bootstrap()
        return bool(client.cluster.brokers())
    except (KafkaError, OSError):
        return False
    finally:
        await client.close()


def _address(bootstrap_servers: str) -> tuple[str, int]:
    host, port = bootstrap_servers.split(":")
    return host, int(port)


def _cluster_id() -> str:
    """Return a random id in Kafka's form: 22 characters of URL-safe base64, none of them a dash in front.

    One in 64 would begin with a dash, which the storage tool takes for an option.
    """
    return base64.urlsafe_b64encode(b"\0" + uuid.uuid4().bytes[1:]).decode().rstrip("=")


def java_command(main_class: str, *arguments: str, options: Sequence[str] = ()) -> list[str]:
    """Build a command line for one of Kafka's programs; raises BrokerFailedError when Java or jars are missing."""
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    if java is None:
        raise BrokerFailedError("no `java` found; `make kafka-jars` installs it or says how")
    if not any(JARS.glob("kafka_*.jar")):
        raise BrokerFailedError(f"no Kafka in {JARS}; run `make kafka-jars`")
    machine = ["-Xmx512m", "-XX:+UseSerialGC", "-Djava.awt.headless=true"]
    log = ["-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS"]
    return [java, *machine, *options, *log, "-cp", f"{JARS}/*", main_class, *arguments]


def main() -> int:
    """Run one broker in the foreground until Ctrl-C or SIGTERM."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    signal.signal(signal.SIGINT, lambda *_: ended.set())
    with KafkaBroker() as broker:
        sys.stdout.write(f"Kafka answers at {broker.bootstrap_servers}; log in {broker.log_file}; Ctrl-C ends it\n")
        sys.stdout.flush()
        while broker.is_running and not ended.wait(timeout=0.5):
            pass
        if not ended.is_set():
            sys.stderr.write(f"Kafka ended by itself:\n{broker.log_tail()}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
