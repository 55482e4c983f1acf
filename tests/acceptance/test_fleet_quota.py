"""A fleet keeps to one quota, whoever dies, stalls, joins or leaves, and uses what it may."""

import asyncio
import itertools
import math
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from service.entrypoints.demo_day import DayRecord
from service.sandbox.journal import duplicate_effects, utilisation, windows_over_quota
from tests.acceptance.events import hired
from tests.acceptance.fleet import Fleet, open_fleet
from tests.acceptance.scene import QUOTAS
from tests.kafka.broker import KafkaBroker
from tests.postgres.server import PostgresServer

CREATE = "tencent_ccc.CreateExtension"
SPARE_SECONDS = 60.0
"""For the start of the processes, and for what the last hires need after their creation."""
long = pytest.mark.long
HOLD_EVERYTHING = """
INSERT INTO holds (id, kind, reason, actor, created_at) VALUES ('test', 'hold', 'the test prepares', 'test', 0)
"""
RELEASE = "UPDATE holds SET released_at = 1 WHERE id = 'test'"
TO_REPLAY = """
UPDATE commands SET lane = 'replay' WHERE plan_id IN (SELECT id FROM plans ORDER BY arrival LIMIT $1)
"""


QUICK = {"connect_seconds": 1, "read_seconds": 2, "read_lag_seconds": 0.5}
"""So that what a kill leaves in doubt is settled within a small run."""


def hires(number: int, **data: Any) -> list[DayRecord]:
    """So many agents are hired, at once."""
    return [hired(10_000 + n, **data) for n in range(number)]


@asynccontextmanager
async def working(kafka: KafkaBroker, url: str, folder: Path, tag: str, **scene: Any) -> AsyncIterator[Fleet]:
    async with open_fleet(kafka, url, folder, tag=tag, **scene) as fleet:
        yield fleet
        await fleet.stop_all()


async def all_done(fleet: Fleet, number: int) -> None:
    await fleet.scene.until(
        lambda: len(fleet.scene.plan_ends()) >= number,
        seconds=number / 20 * 1.25 + SPARE_SECONDS,
        what=f"{number} plans ended",
    )


def judged(fleet: Fleet, number: int, capsys: pytest.CaptureFixture[str], name: str) -> float:
    """Hold the journal against the promises; the share of CreateExtension's quota that was used."""
    journal = fleet.scene.journal
    used = utilisation(journal, "CreateExtension", 20)
    late = sum(entry.unseen > 0 for entry in journal)
    with capsys.disabled():
        sys.stdout.write(f"\n  {name}: {used:.4f} of the quota used; {late} arrivals seen late by the sandbox\n")
    assert windows_over_quota(journal, QUOTAS) == []
    assert duplicate_effects(journal) == []
    created = Counter(entry.natural_key for entry in journal if entry.effect == "created")
    assert len(created) == number
    return used


@pytest.mark.parametrize(
    ("replicas", "block", "number", "least"),
    [
        (2, 0, 200, 0.0),
        *(pytest.param(replicas, block, 2000, 0.98, marks=long) for replicas in (1, 2, 4) for block in (0, 5)),
        pytest.param(2, 20, 2000, 0.95, marks=long),
    ],
)
async def test_fleet_keeps_to_the_quota_and_uses_it(
    kafka: KafkaBroker,
    postgres_url: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    replicas: int,
    block: int,
    number: int,
    least: float,
) -> None:
    program = ("-m", "tests.acceptance.blocked", str(block)) if block else ("-m", "service")
    tag = f".quota{replicas}.{block}.{number}"
    async with working(kafka, postgres_url, tmp_path, tag, program=program) as fleet:
        fleet.start(*range(replicas))
        await fleet.ready()
        await fleet.scene.produce(hires(number))
        await all_done(fleet, number)
        used = judged(fleet, number, capsys, f"{replicas} replicas, {block} ms blocks, {number} hires")
    assert used >= least


@pytest.mark.parametrize(
    ("replicas", "number", "replayed", "least"),
    [
        (2, 240, 40, 0.0),
        *(pytest.param(replicas, 2000, 300, 0.92, marks=long) for replicas in (2, 4)),
    ],
)
async def test_fleet_keeps_to_the_quota_through_kills_and_a_rolling_restart(
    kafka: KafkaBroker,
    postgres_url: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    replicas: int,
    number: int,
    replayed: int,
    least: float,
) -> None:
    settings = {"timing": QUICK} if number < 1000 else {}
    async with working(kafka, postgres_url, tmp_path, f".storm{replicas}.{number}", settings=settings) as fleet:
        fleet.start(*range(replicas))
        await fleet.ready()
        await taken_in_and_held(fleet, number)
        await fleet.ask(TO_REPLAY, replayed)
        await fleet.ask(RELEASE)
        await die_and_return(fleet, number)
        await all_done(fleet, number)
        used = judged(fleet, number, capsys, f"{replicas} replicas, two kills and a rolling restart, {number} hires")
    assert used >= least


async def taken_in_and_held(fleet: Fleet, number: int) -> None:
    """Every hire is in the ledger, and none is begun."""
    await fleet.ask(HOLD_EVERYTHING)
    await fleet.scene.produce(hires(number))

    async def taken() -> bool:
        return bool((await fleet.ask("SELECT count(*) FROM plans"))[0][0] == number)

    await fleet.scene.until_async(taken, seconds=60, what=f"{number} plans in the ledger")


async def die_and_return(fleet: Fleet, number: int) -> None:
    """Two kills and a rolling restart, spread over the run."""
    milestones = (number // 6, number // 3, number // 2)
    for victim, milestone in zip((0, 1), milestones, strict=False):
        await created(fleet, milestone)
        await fleet.kill(victim)
        fleet.start(victim)
    await created(fleet, milestones[-1])
    for replica in sorted(fleet.workers):
        await fleet.stop(replica)
        fleet.start(replica)
        await fleet.ready()


async def created(fleet: Fleet, number: int) -> None:
    """So many extensions stand at the vendor."""
    await fleet.scene.until(
        lambda: len(fleet.scene.effects("CreateExtension")) >= number,
        seconds=number / 20 * 1.5 + SPARE_SECONDS,
        what=f"{number} extensions created",
    )


APPS = (1400000000, 1400000001)
KEY = {"secret_id": "AKIDFAKE-cn", "secret_key": "FAKE-secret-key-cn-0123456789"}


@pytest.mark.parametrize("number", [60, pytest.param(1000, marks=long)])
async def test_accounts_of_one_quota_group_share_its_quota(
    kafka: KafkaBroker, postgres_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    sandbox = {"tencent": [{**KEY, "sdk_app_ids": list(APPS)}]}
    async with working(kafka, postgres_url, tmp_path, f".group{number}", sandbox_settings=sandbox) as fleet:
        twin = {"vendor": "tencent_ccc", "base_url": fleet.scene.sandbox_url, "site": "cn", "sdk_app_id": APPS[1]}
        fleet.scene.settings["accounts"] = {"acme_two": {**twin, "secret_id": KEY["secret_id"]}}
        fleet.scene.secrets["CORDBOARD_ACCOUNTS__ACME_TWO__SECRET_KEY"] = KEY["secret_key"]
        fleet.start(0, 1)
        await fleet.ready()
        await fleet.scene.produce(interleaved(number))
        await all_done(fleet, 2 * number)
        judged(fleet, 2 * number, capsys, f"two accounts of one group, {number} hires each")
        shares = shares_while_both_wait(fleet)
    with capsys.disabled():
        sys.stdout.write(f"  shares while both waited: {shares}\n")
    assert min(shares) >= 0.45


def interleaved(number: int) -> Sequence[DayRecord]:
    """As many hires of each account, in turn; other people, other events."""
    first = hires(number)
    second = [
        hired(50_000 + n, event_id=f"two-{n}", agent_id=f"B{n}", account="acme_two", extension=str(50_000 + n))
        for n in range(number)
    ]
    return list(itertools.chain.from_iterable(zip(first, second, strict=True)))


def shares_while_both_wait(fleet: Fleet) -> list[float]:
    """What each application got of the creations until one of them had no more."""
    apps = [str(entry.app) for entry in fleet.scene.effects("CreateExtension")]
    last = min(len(apps) - 1 - apps[::-1].index(app) for app in set(apps))
    counted = Counter(apps[: last + 1])
    return [counted[app] / (last + 1) for app in sorted(counted)]


@pytest.mark.parametrize(("queued", "seconds"), [(200, 6), pytest.param(5000, 60, marks=long)])
async def test_replays_that_queue_up_do_not_hold_up_live_work(
    kafka: KafkaBroker,
    postgres: PostgresServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    queued: int,
    seconds: int,
) -> None:
    urls = {name: postgres.url(postgres.create_database()) for name in ("beside", "alone")}
    folders = {name: tmp_path / name for name in urls}
    for folder in folders.values():
        folder.mkdir()
    async with (
        open_fleet(kafka, urls["beside"], folders["beside"], tag=f".beside{queued}") as beside,
        open_fleet(kafka, urls["alone"], folders["alone"], tag=f".alone{queued}") as alone,
    ):
        for fleet in (beside, alone):
            fleet.start(0, 1)
        for fleet in (beside, alone):
            await fleet.ready()
        await taken_in_and_held(beside, queued)
        await beside.ask(TO_REPLAY, queued)
        await beside.ask(RELEASE)
        produced = await paced_hires(seconds, beside, alone)
        p99 = {name: await live_wait(fleet, produced) for name, fleet in (("beside", beside), ("alone", alone))}
        for fleet in (beside, alone):
            assert windows_over_quota(fleet.scene.journal, QUOTAS) == []
            for replica in list(fleet.workers):
                await fleet.kill(replica)
    with capsys.disabled():
        sys.stdout.write(f"\n  p99 wait of {len(produced)} live hires: {p99}, beside {queued} in the replay lane\n")
    if queued >= 5000:
        assert p99["beside"] <= 1.2 * p99["alone"] + 0.1


LIVE_RATE = 14.0
"""A second: 70 % of the quota."""
LIVE_FROM = 70_000


async def paced_hires(seconds: int, *fleets: Fleet) -> dict[str, float]:
    """Hire at an even pace, in every fleet at the same moments; when each extension was asked for (monotonic)."""
    produced: dict[str, float] = {}
    begun = time.monotonic()
    async with AsyncExitStack() as opened:
        produce = [await opened.enter_async_context(fleet.scene.producer()) for fleet in fleets]
        for n in range(round(seconds * LIVE_RATE)):
            await asyncio.sleep(max(0.0, begun + n / LIVE_RATE - time.monotonic()))
            produced[f"extension:{APPS[0]}/{LIVE_FROM + n}"] = time.monotonic()
            await asyncio.gather(*(into([hired(LIVE_FROM + n)]) for into in produce))
    return produced


async def live_wait(fleet: Fleet, produced: dict[str, float]) -> float:
    """Seconds from a hire to its creation at the vendor that 99 of 100 did not exceed."""

    def arrivals() -> dict[str, float]:
        created = (entry for entry in fleet.scene.journal if entry.effect == "created")
        return {str(entry.natural_key): entry.arrival for entry in created if entry.natural_key in produced}

    await fleet.scene.until(lambda: len(arrivals()) == len(produced), seconds=60, what="every live hire created")
    waits = sorted(arrived - produced[key] for key, arrived in arrivals().items())
    return round(waits[math.ceil(0.99 * len(waits)) - 1], 3)


async def test_replicas_serve_by_age(
    kafka: KafkaBroker, postgres_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """More comes than the quota lets through: nobody's work may grow much older than another replica's."""
    async with working(kafka, postgres_url, tmp_path, ".age") as fleet:
        fleet.start(0, 1)
        await fleet.ready()
        async with fleet.scene.producer() as produce:
            for n in range(300):
                await produce([hired(10_000 + n)])
                await asyncio.sleep(1 / 30)
        await all_done(fleet, 300)
        judged(fleet, 300, capsys, "2 replicas, 30 hires a second")
        skew = await skew_of(fleet)
    with capsys.disabled():
        sys.stdout.write(f"  the oldest served by the replicas in the same second differ by {skew:.2f} s at most\n")
    assert skew <= 2.0


async def skew_of(fleet: Fleet) -> float:
    """The most by which the ages of what the replicas served oldest in the same second differ."""
    rows = await fleet.ask("SELECT id, created_at, last_at FROM commands WHERE operation = $1", CREATE)
    known = {row["id"]: row for row in rows}
    served: dict[int, dict[int, float]] = defaultdict(dict)  # second → replica → when its oldest was created
    for replica in (0, 1):
        for command_id in fleet.scene.finished_by(replica) & known.keys():
            row = known[command_id]
            second = int(row["last_at"])
            served[second][replica] = min(row["created_at"], served[second].get(replica, row["created_at"]))
    both = [oldest for oldest in served.values() if len(oldest) == 2]
    assert len(both) >= 5, "both replicas have served for some seconds"
    return max(abs(oldest[0] - oldest[1]) for oldest in both)
