"""DBOS: its own Kafka consumer starts a workflow of two steps for each record. Synchronous."""

from __future__ import annotations

import http.client
import signal
import sys
import threading
from typing import Any
from urllib.parse import urlsplit

import orjson
from confluent_kafka import Producer
from dbos import DBOS, KafkaMessage

from tests.benchmarks.contenders.task import Task, calls_of


def run(task: Task) -> None:
    """Work until told to stop."""
    DBOS(
        config={
            "name": "bench",
            "system_database_url": task.database,
            "log_level": "ERROR",
            "sys_db_pool_size": 30,
            "kafka_queue_polling_interval_sec": 0.02,
        }
    )
    producer = Producer({"bootstrap.servers": task.kafka, "linger.ms": 2, "enable.idempotence": True})
    address, mine = urlsplit(task.vendor), threading.local()

    @DBOS.step()
    def call(action: str, body: str) -> dict[str, Any]:
        if not hasattr(mine, "connection"):
            mine.connection = http.client.HTTPConnection(address.hostname or "", address.port)
        mine.connection.request("POST", "/", body=body, headers={"X-TC-Action": action})
        answer: dict[str, Any] = orjson.loads(mine.connection.getresponse().read())
        return answer

    @DBOS.kafka_consumer(
        {"bootstrap.servers": task.kafka, "group.id": task.group, "session.timeout.ms": 6_000}, [task.topic]
    )
    @DBOS.workflow()
    def hire(message: KafkaMessage) -> None:
        event = orjson.loads(message.value or b"")
        for action, body in calls_of(event):
            answer = call(action, body.decode())
        result = orjson.dumps({"id": event["id"], "request_id": answer["Response"]["RequestId"]})
        producer.produce(task.results, value=result, key=message.key)
        producer.poll(0)

    DBOS.launch()
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    while not told.wait(0.05):
        producer.poll(0)
    producer.flush(5)
    DBOS.destroy()


if __name__ == "__main__":
    run(Task.parse(sys.argv[1]))
