"""Each fault of the alert table on a real service under a real Prometheus: its alert fires, no other, and it resolves.

The rules are the chart's, with every time in them divided by `FACTOR`. What dashboards ask is asked of the same run.
"""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.entrypoints.demo_day import DayRecord
from tests.acceptance.events import event, hired, purchased, raw
from tests.acceptance.scene import Scene, free_port
from tests.chart.dashboards import DASHBOARDS, expressions
from tests.chart.expressions import RULES
from tests.kafka.broker import KafkaBroker
from tests.prometheus.hurry import hurried
from tests.prometheus.server import PrometheusServer

FACTOR = 200.0
EVERY_SECONDS = 0.25
WINDOWS = (2.0, 4.0)
WAIT_SECONDS = 1.2
FIRES_SECONDS, RESOLVES_SECONDS = (
    60.0,
    60.0,
)  # Kafka's clients take twenty for a lost acknowledgement, and ten to connect
CREATE = "tencent_ccc.CreateExtension"
QUICK = {"attempts": 1000, "base_seconds": 0.2, "cap_seconds": 0.4}
OBJECTIVE_SECONDS = 3.0
QUOTAS = {"default": 100}
SETTINGS: dict[str, Any] = {
    "kafka": {"session_timeout_ms": 3_000},
    "objectives": {"hired_to_ready_seconds": OBJECTIVE_SECONDS},
    "timing": {"approval_poll_seconds": 1.0, "connect_seconds": 0.5, "read_seconds": 1.0, "read_lag_seconds": 0.0},
    "retries": {"retryable": QUICK, "throttled": QUICK},
    "quarantine": {"run": 1000, "probe_seconds": 0.5, "longest_probe_seconds": 0.5},
    "brake": {"window": 20, "least": 5, "resume_seconds": 1.0},
    "watchdog": {"stalled_seconds": 10.0},
    "accounts": {"acme_cn": {"quotas": QUOTAS}, "acme_hw": {"quotas": QUOTAS}},
}
SANDBOX = {"approval_seconds": None, "quotas": {"tencent_ccc": QUOTAS, "huawei_aicc": QUOTAS}}


@dataclass
class Town:
    """The scene, its Prometheus, and what is under way."""

    scene: Scene
    prometheus: PrometheusServer
    worker: "subprocess.Popen[bytes]"
    second: "subprocess.Popen[bytes] | None" = None
    hires: int = 1000
    also: list[asyncio.Task[None]] = field(default_factory=list)

    async def hire(self, count: int) -> None:
        """So many agents more, each with an extension of his own."""
        first, self.hires = self.hires, self.hires + count
        await self.scene.produce([hired(n) for n in range(first, self.hires)])

    async def strike(self, *rules: dict[str, Any]) -> None:
        """Let requests at the sandbox go wrong."""
        await self.scene.ask_sandbox("PUT", "faults", {"rules": list(rules)})

    async def heal(self) -> None:
        """No more of that."""
        await self.scene.ask_sandbox("DELETE", "faults")

    async def firing(self) -> set[str]:
        """The alerts that fire now."""
        return await asyncio.to_thread(self.prometheus.firing)

    async def fired(self, since: float) -> set[str]:
        """The alerts that fired at any time since then."""
        asked = 'ALERTS{alertstate="firing"}'
        found = await asyncio.to_thread(self.prometheus.history, asked, since=since, step=EVERY_SECONDS)
        return {series["metric"]["alertname"] for series in found}

    async def failures_are_seen(self) -> bool:
        """Whether Prometheus has a first of each kind: only a second then counts as an increase."""
        both = ("commands", "plans")
        asked = [f'cordboard_{what}_ended_total{{state="failed", error_class!=""}}' for what in both]
        return all([await asyncio.to_thread(self.prometheus.query, expr) for expr in asked])

    async def change_quota(self, rate: float | None) -> None:
        """Let creates go at another rate, or as configured again."""
        wanted = {"account": "acme_cn", "operation": CREATE, "rate": rate, "reason": "the test of alerts"}
        status, answer = await self.scene.post("/v1/quotas", wanted, key=f"quota-{time.monotonic()}")
        assert status == 200, answer

    async def start(self) -> None:
        """Start the worker anew, and wait until it is ready."""
        self.worker = self.scene.start_worker()
        await self.scene.until_async(self.scene.is_ready, seconds=30, what="the worker is ready again")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What goes wrong, how it is mended, which alerts have to fire meanwhile, and which others may as well."""

    name: str
    strike: Callable[[Town], Awaitable[None]]
    mend: Callable[[Town], Awaitable[None]]
    fires: frozenset[str]
    consequences: frozenset[str] = frozenset()


# --- the faults -------------------------------------------------------------------------------------------------------


async def _vendor_down(town: Town) -> None:
    await town.strike({"kind": "http_before", "action": "*CalledRoute", "status": 503})
    await town.scene.produce([_route(n) for n in range(3)])


async def _heal(town: Town) -> None:
    await town.heal()


async def _wrong_keys(town: Town) -> None:
    await town.strike({"kind": "error_before", "vendor": "tencent_ccc", "code": "AuthFailure.SignatureFailure"})
    await town.hire(3)


async def _spent_by_others(town: Town) -> None:
    await town.strike({"kind": "throttle", "action": "queryCalledRoute"})
    await town.scene.produce([_route(n) for n in range(100, 110)])


async def _more_than_the_quota(town: Town) -> None:
    await town.change_quota(2)
    await town.hire(110)
    town.also.append(asyncio.create_task(_keep_hiring(town)))


async def _keep_hiring(town: Town) -> None:
    while True:
        await town.hire(2)
        await asyncio.sleep(0.3)


async def _quota_is_back(town: Town) -> None:
    await _end(town.also.pop())
    await town.change_quota(None)


async def _reply_lost(town: Town) -> None:
    await town.strike({"kind": "reply_lost_after", "action": "CreateOwnNumberApply"})
    await town.scene.produce([purchased("+861082340000")])


async def _settled_by_a_person(town: Town) -> None:
    await town.heal()
    (command,) = await town.scene.commands(state="in_doubt")
    wanted = {"outcome": "applied", "apply_id": "1", "reason": "the form is in the console"}
    status, answer = await town.scene.post(f"/v1/commands/{command['id']}/settle", wanted, key="settled")
    assert status == 200, answer


async def _no_disk(town: Town) -> None:
    town.scene.fill_disk(town.worker, full=True)
    await town.hire(3)


async def _disk_again(town: Town) -> None:
    town.scene.fill_disk(town.worker, full=False)


async def _bad_records(town: Town) -> None:
    await town.scene.produce([raw(b"not json", key=str(n).encode()) for n in range(10)])


async def _good_records(town: Town) -> None:
    await town.hire(20)


async def _fetching_dies(town: Town) -> None:
    town.worker.send_signal(signal.SIGUSR1)
    town.also.append(asyncio.create_task(_keep_hiring(town)))  # what was asked for before it died still comes


async def _start_anew(town: Town) -> None:
    await _end(town.also.pop())
    await town.scene.kill_worker(town.worker)
    await town.start()


async def _process_dies(town: Town) -> None:
    await town.scene.kill_worker(town.worker)


async def _process_returns(town: Town) -> None:
    await town.start()


async def _toggle_blocks(town: Town) -> None:
    town.worker.send_signal(signal.SIGUSR2)


async def _kafka_dies(town: Town) -> None:
    await town.change_quota(5)
    before = town.scene.arrivals
    await town.hire(8)  # they take half of what the objective allows
    await town.scene.until(lambda: town.scene.arrivals > before, seconds=10, what="work has begun")
    await asyncio.to_thread(town.scene.broker.kill)


async def _kafka_returns(town: Town) -> None:
    await asyncio.to_thread(town.scene.broker.start)
    await town.change_quota(None)


async def _second_without_a_ledger(town: Town) -> None:
    town.second = town.scene.start_worker(1)


async def _second_ends(town: Town) -> None:
    assert town.second is not None
    await town.scene.kill_worker(town.second)


RESTARTS = frozenset({"CordboardDown", "CordboardLedgerAway", "CordboardKafkaAway"})
"""A process that was started anew needs longer than these wait, once their minutes are fractions of a second."""
LATE = frozenset({"CordboardHiresMissedFast", "CordboardHiresMissedSteadily", "CordboardHiresMissedSlowly"})
FAULTS = (
    Fault(name="vendor down", strike=_vendor_down, mend=_heal, fires=frozenset({"CordboardVendorDown"})),
    Fault(name="wrong keys", strike=_wrong_keys, mend=_heal, fires=frozenset({"CordboardAccountQuarantined"})),
    Fault(
        name="throttled by somebody else",
        strike=_spent_by_others,
        mend=_heal,
        fires=frozenset({"CordboardThrottledByOthers"}),
    ),
    Fault(
        name="more work than the quota lets through",
        strike=_more_than_the_quota,
        mend=_quota_is_back,
        fires=frozenset({"CordboardBacklogOld", "CordboardBacklogGrowing"}) | LATE,
    ),
    Fault(
        name="a reply to an application is lost",
        strike=_reply_lost,
        mend=_settled_by_a_person,
        fires=frozenset({"CordboardInDoubtAgeing"}),
        consequences=frozenset({"CordboardVendorDown"}),
    ),
    Fault(name="no disk", strike=_no_disk, mend=_disk_again, fires=frozenset({"CordboardLedgerAway"})),
    Fault(name="bad records", strike=_bad_records, mend=_good_records, fires=frozenset({"CordboardTopicPaused"})),
    Fault(name="loop blocked", strike=_toggle_blocks, mend=_toggle_blocks, fires=frozenset({"CordboardLoopLag"})),
    Fault(
        name="consumer stalled",
        strike=_fetching_dies,
        mend=_start_anew,
        fires=frozenset({"CordboardConsumerStalled", "CordboardProcessStuck"}),
        consequences=RESTARTS | LATE,
    ),
    Fault(
        name="process down",
        strike=_process_dies,
        mend=_process_returns,
        fires=frozenset({"CordboardDown"}),
        consequences=RESTARTS,
    ),
)

SLOW_FAULTS = (
    Fault(
        name="one process without a ledger",
        strike=_second_without_a_ledger,
        mend=_second_ends,
        fires=frozenset({"CordboardProcessCutOff"}),
    ),
    Fault(
        name="Kafka away",
        strike=_kafka_dies,
        mend=_kafka_returns,
        fires=frozenset({"CordboardKafkaAway", "CordboardOutboxAgeing"}),
    ),
)
"""Kafka's clients need most of a minute to see that it is away, and that it is back."""


@pytest.mark.long
async def test_each_fault_fires_its_alert_and_no_other_and_everything_that_is_asked_is_answered(
    kafka: KafkaBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with _town(kafka, tmp_path) as town:
        begun = time.time()
        await _a_quiet_day(town)
        for fault in FAULTS:
            await _suffer(town, fault, capsys)
        unanswered = await _unanswered(town, begun)
    assert unanswered == [], "\n".join(unanswered)


@pytest.mark.long
async def test_kafka_that_is_away_and_a_process_that_is_cut_off_fire_their_alerts_and_no_other(
    own_kafka: KafkaBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with _town(own_kafka, tmp_path) as town:
        await town.hire(1)
        for fault in SLOW_FAULTS:
            await _suffer(town, fault, capsys)


def test_every_alert_has_its_fault() -> None:
    alerts = {rule["alert"] for group in _rules()["groups"] for rule in group["rules"] if "alert" in rule}
    assert {name for fault in (*FAULTS, *SLOW_FAULTS) for name in fault.fires} == alerts


def _rules() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(RULES.read_text())
    return hurried(document, factor=FACTOR, windows=WINDOWS, wait=WAIT_SECONDS)


@asynccontextmanager
async def _town(kafka: KafkaBroker, folder: Path) -> AsyncIterator[Town]:
    scene = Scene(kafka, folder, tag=".alerts", settings=SETTINGS, sandbox_settings=SANDBOX)
    scene.program = ("-m", "tests.acceptance.faulty")
    scene.http_ports = {0: free_port(), 1: free_port()}
    scene.replica_settings = {1: {"ledger": f"sqlite:///{folder}/nowhere/ledger.db"}}
    targets = [f"127.0.0.1:{port}" for port in scene.http_ports.values()]
    async with scene:
        with PrometheusServer(rules=_rules(), targets=targets, every=EVERY_SECONDS) as prometheus:
            town = Town(scene, prometheus, scene.start_worker())
            await scene.until_async(scene.is_ready, seconds=30, what="the worker is ready")
            await _until_quiet(town, "the start")
            yield town


async def _a_quiet_day(town: Town) -> None:
    """Some of everything that happens without a fault of ours, and a little that fails, twice."""
    await town.strike(
        {"kind": "error_before", "action": "CreateExtension", "match": "*/66*", "code": "LimitExceeded.Seat"}
    )
    for nth in range(2):
        await town.scene.produce(
            [
                *(hired(n) for n in (6600 + nth, 500 + nth)),
                hired(510 + nth, account="acme_moon"),
                event("hr.payroll.closed.v1", f"payroll-{nth}", {"month": nth}),
                _route(500 + nth),
            ]
        )
        ended = 4 * (nth + 1)
        await town.scene.until(
            lambda ended=ended: len(town.scene.plan_ends()) == ended,  # type: ignore[misc]
            seconds=20,
            what=f"{ended} plan ends",
        )
        await town.scene.until_async(town.failures_are_seen, seconds=10, what="a failed command and plan at Prometheus")
    await town.heal()


async def _suffer(town: Town, fault: Fault, capsys: pytest.CaptureFixture[str]) -> None:
    """Strike, see the alerts fire, mend, see all resolve; nothing else may have fired. Prints how long it took."""
    begun, began = time.time(), time.monotonic()
    await fault.strike(town)
    await _until(town, fault, begun)
    fired_after = time.monotonic() - began
    mended = time.monotonic()
    await fault.mend(town)
    await _until_quiet(town, fault.name)
    resolved_after = time.monotonic() - mended
    others = await town.fired(begun) - fault.fires - fault.consequences
    assert others == set(), f"{fault.name}: fired as well: {sorted(others)}"
    with capsys.disabled():
        sys.stdout.write(f"\n  {fault.name}: fired after {fired_after:.1f} s, resolved after {resolved_after:.1f} s")


async def _until(town: Town, fault: Fault, since: float) -> None:
    missing = set(fault.fires)

    async def all_fired() -> bool:
        missing.difference_update(await town.fired(since))
        return not missing

    try:
        await town.scene.until_async(all_fired, seconds=FIRES_SECONDS, what=f"{fault.name}: {sorted(fault.fires)}")
    except AssertionError as late:
        raise AssertionError(f"did not fire: {sorted(missing)}") from late


async def _until_quiet(town: Town, name: str) -> None:
    async def quiet() -> bool:
        return await town.firing() == set()

    await town.scene.until_async(quiet, seconds=RESOLVES_SECONDS, what=f"{name}: no alert fires any more")


async def _unanswered(town: Town, since: float) -> list[str]:
    """Of what rules and dashboards ask, that to which there was no answer at any time of the run."""
    elsewhere = {name for fault in SLOW_FAULTS for name in fault.fires}
    asked = [r["expr"] for group in _rules()["groups"] for r in group["rules"] if r.get("alert") not in elsewhere]
    asked += [_as_grafana_asks(expr) for page in DASHBOARDS.values() for expr in expressions(page)]
    return [
        e for e in asked if not await asyncio.to_thread(town.prometheus.history, e, since=since, step=EVERY_SECONDS)
    ]


def _as_grafana_asks(expr: str) -> str:
    known = {"$__rate_interval": "2s", "$__range": "30s", "$account": ".*", "$operation": ".*"}
    for name, value in known.items():
        expr = expr.replace(name, value)
    return expr


def _route(n: int) -> DayRecord:
    data = {"account": "acme_hw", "access_code": str(95_000 + n), "route": {"ivr": 7}}
    return event("crm.number.purchased.v1", f"route-{n}", data, key=str(n))


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
