"""Chaos over a fleet: replicas killed, frozen, joining and leaving; their database and their broker killed."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from service.sandbox.journal import Entry
from tests.acceptance.fleet_storm import REPLICAS, FleetStorm, Weather, hold_up, spread
from tests.acceptance.oracle import Evidence
from tests.acceptance.replicas import Attempt, Held, Replicas, until_moment
from tests.acceptance.storm import SESSION_SECONDS
from tests.kafka.broker import KafkaBroker
from tests.postgres.server import PostgresServer

TAKEOVER_SECONDS = SESSION_SECONDS + 5.0
FROZEN_SESSION_SECONDS = 3.0
"""Twice that is longer than PostgreSQL lets a transaction stand idle: before, nobody ends a session stopped in one."""
RESUME_SECONDS = 5.0
"""From the moment when the database answers again to the first call at the vendor."""
MOVE_SECONDS = 4.0
"""Between two joins or leaves."""

long = pytest.mark.long


# --- E6: kill -9 of a random replica ------------------------------------------------------------------------------


@pytest.mark.parametrize(("events", "kills"), [(300, 5), pytest.param(3000, 20, marks=long)])
async def test_replicas_that_are_killed_lose_and_double_nothing_and_the_others_take_over(
    kafka: KafkaBroker, postgres_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], events: int, kills: int
) -> None:
    weather = Weather(
        broker=kafka, database=postgres_url, folder=tmp_path, tag="fleetkill", events=events, waves=kills + 1
    )
    begun = time.monotonic()
    async with weather.storm() as storm:
        await storm.fleet.start(*range(REPLICAS))
        losses = [await _kill_one(storm) for _ in range(kills)]
        evidence = await storm.calm(90)
        taken = [await storm.fleet.take_over_of(loss) for loss in losses if loss.fence is not None]
    doubts = [one.doubt_seconds for one in taken if one.doubt_seconds is not None]
    figures = {
        "kills": kills,
        "calls marked and without outcome at kills": sum(len(loss.marked) for loss in losses),
        "kill to the end of its session": spread([one.session_seconds for one in taken]),
        "kill to its last call in doubt": spread(doubts),
        "seconds": round(time.monotonic() - begun, 1),
    }
    hold_up(evidence, capsys, "E6 replicas killed", figures)
    assert max(doubts) <= TAKEOVER_SECONDS


async def _kill_one(storm: FleetStorm) -> Held:
    """A random replica dies amid the work on a wave, and is started again."""
    loss = await storm.stop_one_amid_calls()
    await storm.fleet.kill(loss.replica)
    storm.fleet.launch(loss.replica)
    await until_moment(time.monotonic() + storm.chance.uniform(0.0, 1.5))
    return loss


# --- E7: a replica frozen for twice its session -------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """A freeze: what the replica had marked and others had taken over by the time it woke up, as it stood then."""

    held: Held
    woke_at: float
    taken_over: dict[Attempt, tuple[Any, ...]]


STANDING = """
SELECT a.command_id, a.epoch, a.number, a.marked_at, a.ended_at, a.outcome, a.code, a.request_id
FROM attempts AS a JOIN commands AS c ON c.id = a.command_id
WHERE a.command_id = ANY($1::text[]) AND (c.state <> 'in_flight' OR c.owner IS DISTINCT FROM $2)
"""


@pytest.mark.parametrize(("events", "freezes"), [(120, 2), pytest.param(900, 10, marks=long)])
async def test_a_replica_frozen_for_twice_its_session_writes_no_stale_outcome_and_sends_nothing_again(
    kafka: KafkaBroker, postgres_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], events: int, freezes: int
) -> None:
    weather = Weather(
        broker=kafka,
        database=postgres_url,
        folder=tmp_path,
        tag="frozen",
        events=events,
        waves=2 * freezes + 1,
        session_seconds=FROZEN_SESSION_SECONDS,
    )
    begun = time.monotonic()
    async with weather.storm() as storm:
        await storm.fleet.start(*range(REPLICAS))
        frozen = [await _freeze_one(storm) for _ in range(freezes)]
        evidence = await storm.calm(60)
        stands = {row[:3]: row for one in frozen for row in await _standing(storm.fleet, one.held)}
        taken = [await storm.fleet.take_over_of(one.held) for one in frozen]
        dropped = len(storm.scene.log_lines("an outcome came for lost work"))
    late = [(one.woke_at, entry) for one in frozen for entry in _sent_late(evidence, one)]
    figures = {
        "freezes": freezes,
        "calls marked and without outcome at freezes": sum(len(one.held.marked) for one in frozen),
        "of them taken over before it woke up": sum(len(one.taken_over) for one in frozen),
        "outcomes that came too late and were dropped": dropped,
        "freeze to the end of its session": spread([one.session_seconds for one in taken]),
        "seconds": round(time.monotonic() - begun, 1),
    }
    hold_up(evidence, capsys, "E7 replicas frozen", figures)
    assert any(one.taken_over for one in frozen), "no freeze hit a call in flight: nothing is shown"
    stale = [row for one in frozen for name, row in one.taken_over.items() if stands[name] != row]
    assert stale == [], "an outcome was written for work that others had taken over"
    assert late == [], "a call was sent after its replica was woken up, for work that others had taken over"


async def _freeze_one(storm: FleetStorm) -> Frozen:
    """A random replica stands still for twice its session amid work, and more work comes meanwhile."""
    held = await storm.stop_one_amid_calls()
    begun = time.monotonic()
    await storm.wave()
    await until_moment(begun + 2 * FROZEN_SESSION_SECONDS)
    marked = set(held.marked)
    taken_over = {row[:3]: row for row in await _standing(storm.fleet, held) if row[:3] in marked}
    woke_at = time.time()
    storm.fleet.wake(held.replica)
    await until_moment(time.monotonic() + storm.chance.uniform(0.5, 1.5))
    return Frozen(held=held, woke_at=woke_at, taken_over=taken_over)


async def _standing(fleet: Replicas, held: Held) -> list[tuple[Any, ...]]:
    """The attempts of what was marked, but for commands that are still the replica's own."""
    return await fleet.rows(STANDING, [name for name, _, _ in held.marked], held.fence)


def _sent_late(evidence: Evidence, frozen: Frozen) -> list[Entry]:
    """What reached the vendor after the wake-up under an attempt that others had taken over."""
    return [
        entry
        for entry, attempt in evidence.writes
        if attempt is not None
        and entry.wall > frozen.woke_at
        and (attempt["command_id"], attempt["epoch"], attempt["number"]) in frozen.taken_over
    ]


# --- E14: replicas join and leave ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("events", "moves"), [(160, 4), pytest.param(1500, 45, marks=long)])
async def test_replicas_that_join_and_leave_all_the_time_lose_and_double_nothing(
    kafka: KafkaBroker, postgres_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], events: int, moves: int
) -> None:
    weather = Weather(
        broker=kafka, database=postgres_url, folder=tmp_path, tag="moving", events=events, waves=moves + 1
    )
    begun = time.monotonic()
    async with weather.storm() as storm:
        await storm.fleet.start(0)
        stops: list[float] = []
        for _ in range(moves):
            next_move = time.monotonic() + MOVE_SECONDS
            await storm.wave()
            stops += await _join_or_leave(storm)
            await until_moment(next_move)
        evidence = await storm.calm(60)
        figures = {
            "joins": moves - len(stops),
            "leaves": len(stops),
            "SIGTERM to exit": spread(stops),
            "rebalances seen by replicas": len(storm.scene.log_lines("partitions assigned")),
        }
    figures["seconds"] = round(time.monotonic() - begun, 1)
    hold_up(evidence, capsys, "E14 replicas join and leave", figures)


async def _join_or_leave(storm: FleetStorm) -> list[float]:
    """One replica more or one less, of one to four; how long it took to leave, if it left."""
    present = sorted(storm.fleet.workers)
    if len(present) == 1 or (len(present) < 4 and storm.chance.random() < 0.5):
        storm.fleet.launch(min(set(range(4)) - set(present)))
        return []
    leaving = storm.chance.choice(present)
    await storm.fleet.ready(leaving)  # a signal that comes before ends a process that has not learnt what to do on one
    return [await storm.fleet.stop(leaving)]


# --- E10: the database is stopped ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("events", "stops"), [(200, 2), pytest.param(2000, 6, marks=long)])
async def test_a_database_stopped_again_and_again_loses_and_doubles_nothing_and_work_resumes_soon(
    kafka: KafkaBroker,
    own_postgres: PostgresServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    events: int,
    stops: int,
) -> None:
    database = own_postgres.url(own_postgres.create_database())
    weather = Weather(broker=kafka, database=database, folder=tmp_path, tag="stops", events=events, waves=stops + 1)
    begun = time.monotonic()
    async with weather.storm() as storm:
        await storm.fleet.start(*range(REPLICAS))
        resumed = [await _stop_database(storm, own_postgres) for _ in range(stops)]
        evidence = await storm.calm(60)
        away = len(storm.scene.log_lines("waiting for something that is away"))
    figures = {
        "stops of the database": stops,
        "back to the first call": spread(resumed),
        "rounds that found the ledger away": away,
        "seconds": round(time.monotonic() - begun, 1),
    }
    hold_up(evidence, capsys, "E10 PostgreSQL stopped", figures)
    assert max(resumed) <= RESUME_SECONDS


async def _stop_database(storm: FleetStorm, server: PostgresServer) -> float:
    """The database dies amid work, in one of two ways, and is back after a while; how long until work goes on."""
    at_least, at_most = (5.0, 20.0) if storm.load.events >= 1000 else (0.5, 2.0)
    await until_moment(time.monotonic() + storm.chance.uniform(at_least, at_most))
    await storm.amid_work()
    await asyncio.to_thread(storm.chance.choice([server.kill, server.crash]))
    await until_moment(time.monotonic() + storm.chance.uniform(0.0, 5.0))
    await asyncio.to_thread(server.start)
    back = time.monotonic()
    seen = storm.scene.arrivals
    await storm.scene.until(lambda: storm.scene.arrivals > seen, seconds=30, what="the first call after a stop")
    return min(entry.arrival for entry in storm.scene.journal[seen:]) - back


# --- E8: the broker is killed -------------------------------------------------------------------------------------


@long
async def test_a_broker_killed_under_a_fleet_loses_and_doubles_nothing(
    own_kafka: KafkaBroker, postgres_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kills = 3
    weather = Weather(
        broker=own_kafka, database=postgres_url, folder=tmp_path, tag="broker", events=600, waves=kills + 1
    )
    begun = time.monotonic()
    async with weather.storm() as storm:
        await storm.fleet.start(*range(REPLICAS))
        back = [await _kill_broker(storm) for _ in range(kills)]
        evidence = await storm.calm(90)
    figures = {
        "kills of the broker": kills,
        "back to every replica ready": spread(back),
        "seconds": round(time.monotonic() - begun, 1),
    }
    hold_up(evidence, capsys, "E8 Kafka killed", figures)


async def _kill_broker(storm: FleetStorm) -> float:
    """The broker dies amid work and is back after a while; how long until every replica is ready again."""
    await storm.amid_work()
    await asyncio.to_thread(storm.scene.broker.kill)
    await until_moment(time.monotonic() + storm.chance.uniform(3.0, 8.0))
    await asyncio.to_thread(storm.scene.broker.start)
    back = time.monotonic()
    for replica in range(REPLICAS):
        await storm.fleet.ready(replica, seconds=60)
    return time.monotonic() - back
