"""The scenarios that are not a burst to be worked off: a pace, a flood, slow resources, a start after a kill."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import time
from bisect import bisect_left
from contextlib import suppress

import orjson
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from tests.benchmarks import meters
from tests.benchmarks.contenders.table import COUNTS
from tests.benchmarks.contenders.task import Task
from tests.benchmarks.contest import (
    WARM_UP,
    Arena,
    Contender,
    Figures,
    Stage,
    described,
    quiet,
    stats_of,
    until,
)
from tests.benchmarks.load import produce, produce_paced


async def paced(arena: Arena, contender: Contender, *, rate: float, seconds: float) -> Figures:
    """From a record's production to its creation at the vendor, in ms; slow resources, if any, left out."""
    async with (
        arena.vendor() as (vendor, _),
        arena.prepared(contender, vendor) as stage,
        stage.started() as process,
    ):
        task = stage.task
        await produce(task.kafka, task.topic, 0, WARM_UP)
        await until(
            lambda: described(vendor, WARM_UP),
            seconds=contender.ready_seconds,
            what=f"{contender.name} warm",
            worker=process,
        )
        await quiet()
        cpu = meters.cpu_seconds(process.pid)
        count = round(rate * seconds)
        produced = await produce_paced(task.kafka, task.topic, WARM_UP, count, rate)
        await until(
            lambda: described(vendor, WARM_UP + count),
            seconds=120,
            what=f"{contender.name}: all hires done",
            worker=process,
        )
        cpu = meters.cpu_seconds(process.pid) - cpu
        created = (await stats_of(vendor))["created_at"]
    slow = {one for one in produced if arena.slow_every and int(one) % arena.slow_every == 0}
    lags = sorted((created[one] - at) * 1e3 for one, at in produced.items() if one not in slow)
    return {
        "p50 ms": lags[len(lags) // 2],
        "p99 ms": lags[math.ceil(0.99 * len(lags)) - 1],
        "worst ms": lags[-1],
        "CPU % of a core": cpu / seconds * 100,
    }


async def at_quota(arena: Arena, contender: Contender, *, hires: int, rate: int) -> Figures:
    """How much of a quota is used by creations, and the most of them that arrived within any second."""
    async with (
        arena.vendor() as (vendor, _),
        arena.prepared(contender, vendor) as stage,
        stage.started() as process,
    ):
        await produce(stage.task.kafka, stage.task.topic, 0, hires)
        await until(
            lambda: described(vendor, hires),
            seconds=hires / rate * 1.2 + 60,
            what=f"{contender.name}: {hires} hires at {rate}/s",
            every=1.0,
            worker=process,
        )
        arrivals = sorted((await stats_of(vendor))["created_at"].values())
        return {
            "share of the quota": (len(arrivals) - 1) / (rate * (arrivals[-1] - arrivals[0])),
            "most in a second": max(nth + 1 - bisect_left(arrivals, at - 1.0) for nth, at in enumerate(arrivals)),
            "CPU % of a core": meters.cpu_seconds(process.pid) / (arrivals[-1] - arrivals[0]) * 100,
            "peak MiB": meters.peak_mib(process.pid),
        }


async def statements(arena: Arena, contender: Contender, *, hires: int) -> Figures:
    """What the ledger is asked for a hire, from the start of a process to its end."""
    async with arena.vendor() as (vendor, _), arena.prepared(contender, vendor) as stage:
        async with stage.started() as process:
            await produce(stage.task.kafka, stage.task.topic, 0, hires)
            await until(
                lambda: described(vendor, hires), seconds=300, what=f"{contender.name}: all hires done", worker=process
            )
        counts = orjson.loads((stage.folder / COUNTS).read_bytes())
        return {f"{name} a hire": count / hires for name, count in sorted(counts.items())}


async def flood(arena: Arena, contender: Contender, *, events: int) -> Figures:
    """Events a second from Kafka into the ledger, all of them there beforehand, and the memory that it takes.

    Then it is killed, with nearly all of them waiting: from the next start to its first call to the vendor.
    """
    async with arena.vendor() as (vendor, _), arena.prepared(contender, vendor) as stage:
        await produce(stage.task.kafka, stage.task.topic, 0, events)
        async with stage.started() as process:
            taken = await _take_all(stage, process, events)
            _kill(process)
        return {**taken, **await _start_again(stage, vendor)}


async def _take_all(stage: Stage, process: subprocess.Popen[bytes], events: int) -> Figures:
    task, begun = stage.task, time.monotonic()
    await until(lambda: _committed(task, 1), seconds=60, what="intake has begun", every=0.1, worker=process)
    first, first_at = await _offsets(task), time.monotonic()
    resident: list[float] = []

    async def all_in() -> bool:
        resident.append(meters.resident_mib(process.pid))
        return await _committed(task, events)

    await until(all_in, seconds=600, what=f"{events} events in the ledger", every=0.2, worker=process)
    ended = time.monotonic()
    return {
        "events/s": (events - first) / (ended - first_at),
        "seconds with the start": ended - begun,
        "peak MiB": meters.peak_mib(process.pid),
        "MiB at the middle": resident[len(resident) // 2],
        "MiB at the end": resident[-1],
    }


async def _start_again(stage: Stage, vendor: str) -> Figures:
    begun = time.monotonic()
    async with stage.started() as process:
        await until(lambda: _called_after(vendor, begun), seconds=60, what="a call", every=0.005, worker=process)
        return {"first call after kill -9 s": (await stats_of(vendor))["last_at"] - begun}


async def _offsets(task: Task) -> int:
    admin = AIOKafkaAdminClient(bootstrap_servers=task.kafka)
    await admin.start()
    try:
        found = await admin.list_consumer_group_offsets(task.group)
    except GroupCoordinatorNotAvailableError:  # nobody has asked for a group on this broker yet
        return 0
    finally:
        await admin.close()
    return sum(max(0, one.offset) for place, one in found.items() if place.topic == task.topic)


async def _committed(task: Task, wanted: int) -> bool:
    return await _offsets(task) >= wanted


async def _called_after(vendor: str, moment: float) -> bool:
    return bool((await stats_of(vendor))["last_at"] > moment)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
