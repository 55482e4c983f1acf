"""A real Prometheus for the tests: it scrapes and judges every fraction of a second, and is asked what it found.

`.ci/need prometheus` brings the program. It runs on loopback, in a directory of its own, with rules given by the test.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.ports import free_ports
from tests.servers import RunningServer

START_DEADLINE_SECONDS = 30.0
STOP_DEADLINE_SECONDS = 10.0
ANSWER_SECONDS = 10.0


class PrometheusFailedError(RuntimeError):
    """The server could not be started or did not answer; the message carries the end of its log."""


class PrometheusServer(RunningServer):
    """One Prometheus that watches `targets` (host:port) by `rules`, looking and judging every `every` seconds.

    Every method blocks; a coroutine calls it as `await asyncio.to_thread(server.query, "up")`.
    """

    def __init__(self, *, rules: Mapping[str, Any], targets: Sequence[str], every: float) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="cordboard-prometheus-"))
        self.log_file = self.directory / "prometheus.log"
        (self._port,) = free_ports(1)
        self._rules = rules
        self._targets = list(targets)
        self._every = f"{round(every * 1000)}ms"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Write its configuration, start it and wait until it is ready. Raises PrometheusFailedError."""
        program = shutil.which("prometheus")
        if program is None:
            raise PrometheusFailedError("no `prometheus` found; `.ci/need prometheus` installs it or says how")
        (self.directory / "rules.yaml").write_text(yaml.safe_dump(dict(self._rules), sort_keys=False))
        (self.directory / "prometheus.yaml").write_text(yaml.safe_dump(self._configuration()))
        command = [
            program,
            f"--config.file={self.directory / 'prometheus.yaml'}",
            f"--storage.tsdb.path={self.directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
        ]
        with self.log_file.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - found on the path, no shell
                command, stdout=log, stderr=log, start_new_session=True
            )
        self._wait_until_it_answers()

    def close(self) -> None:
        """End it, and remove what it left."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=STOP_DEADLINE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def firing(self) -> set[str]:
        """Names of the alerts that fire now."""
        return {a["labels"]["alertname"] for a in self.alerts() if a["state"] == "firing"}

    def alerts(self) -> list[dict[str, Any]]:
        """Every alert that is pending or fires now, with its labels and its words."""
        found: list[dict[str, Any]] = self._ask("alerts")["alerts"]
        return found

    def query(self, expr: str) -> list[dict[str, Any]]:
        """What an expression is now: samples with their labels."""
        found: list[dict[str, Any]] = self._ask("query", query=expr)["result"]
        return found

    def history(self, expr: str, *, since: float, step: float) -> list[dict[str, Any]]:
        """What an expression was from a moment (seconds since the epoch) until now."""
        found: list[dict[str, Any]] = self._ask(
            "query_range", query=expr, start=f"{since:.3f}", end=f"{time.time():.3f}", step=f"{step:g}"
        )["result"]
        return found

    def _configuration(self) -> dict[str, Any]:
        return {
            "global": {
                "scrape_interval": self._every,
                "scrape_timeout": self._every,
                "evaluation_interval": self._every,
            },
            "rule_files": [str(self.directory / "rules.yaml")],
            "scrape_configs": [{"job_name": "cordboard", "static_configs": [{"targets": self._targets}]}],
        }

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_DEADLINE_SECONDS
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                raise PrometheusFailedError(f"Prometheus ended while starting:\n{self.log_tail()}")
            try:
                with urllib.request.urlopen(f"{self.url}/-/ready", timeout=1):  # noqa: S310 - our own address
                    return
            except OSError:
                time.sleep(0.05)
        raise PrometheusFailedError(f"not ready within {START_DEADLINE_SECONDS:.0f} s:\n{self.log_tail()}")

    def _ask(self, what: str, **query: str) -> dict[str, Any]:
        """Raises PrometheusFailedError with its own words when it refuses."""
        url = f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as answer:  # noqa: S310 - our own address
                data: dict[str, Any] = json.load(answer)["data"]
                return data
        except urllib.error.HTTPError as refused:
            raise PrometheusFailedError(f"{query}: {refused.read().decode()}") from refused
