"""Sick links under a fleet (E11): one replica's to the database, another's to the vendors, a third's to the broker."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.acceptance.fleet_storm import FleetStorm, Weather, hold_up
from tests.acceptance.replicas import until_moment
from tests.acceptance.toxics import TOXICS, Link, Toxic
from tests.kafka.broker import KafkaBroker
from tests.ports import free_ports

WAVE_SECONDS = 2.0
HEALTHY_SECONDS = 60.0
"""By then every replica has to be ready again after its link was."""


@dataclass(frozen=True, kw_only=True)
class Links:
    """The ways that toxics strike, by what is at their far end."""

    database: Link
    vendors: Link
    broker: Link

    @property
    def all(self) -> dict[str, Link]:
        return {"database": self.database, "vendors": self.vendors, "broker": self.broker}

    def set(self, toxic: Toxic) -> None:
        for link in self.all.values():
            link.toxic = toxic


@pytest.fixture
def kafka_with_detour() -> Iterator[KafkaBroker]:
    """A broker that can also be reached by way of a port that this process listens on."""
    (detour,) = free_ports(1)
    with KafkaBroker(detour=detour) as broker:
        yield broker


@pytest.mark.parametrize(
    ("toxics", "seconds", "events"),
    [(("reset", "latency"), 4.0, 120), pytest.param(TOXICS, 20.0, 1000, marks=pytest.mark.long)],
)
async def test_links_that_are_slow_cut_or_half_open_lose_and_double_nothing_and_every_replica_recovers(
    kafka_with_detour: KafkaBroker,
    postgres_url: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    toxics: Sequence[Toxic],
    seconds: float,
    events: int,
) -> None:
    waves = round(len(toxics) * seconds / WAVE_SECONDS)
    weather = Weather(
        broker=kafka_with_detour, database=postgres_url, folder=tmp_path, tag="links", events=events, waves=waves + 1
    )
    begun = time.monotonic()
    async with weather.storm() as storm, _links(storm, kafka_with_detour, postgres_url) as links:
        await storm.fleet.start(0, 1, 2)
        figures: dict[str, Any] = {}
        for toxic in toxics:
            figures |= await _suffer(storm, links, toxic, seconds)
        evidence = await storm.calm(90)
    figures["seconds"] = round(time.monotonic() - begun, 1)
    hold_up(evidence, capsys, "E11 sick links", figures)


@asynccontextmanager
async def _links(storm: FleetStorm, broker: KafkaBroker, database: str) -> AsyncIterator[Links]:
    """Replica 0 reaches the database by a link, replica 1 the vendors, replica 2 the broker."""
    scene, parts = storm.scene, urlsplit(database)
    assert parts.port is not None, "addresses of test databases name their port"
    assert broker.detour is not None, "the broker knows of a way round"
    sandbox_port = urlsplit(scene.sandbox_url).port or 0
    async with (
        Link(parts.port, random.Random(2)) as to_database,  # noqa: S311 - no secret
        Link(sandbox_port, random.Random(3)) as to_vendors,  # noqa: S311
        Link(broker.detour_port, random.Random(4), broker.detour) as to_broker,  # noqa: S311
    ):
        vendors = {"base_url": f"http://127.0.0.1:{to_vendors.port}"}
        netloc = f"{parts.username}@{parts.hostname}:{to_database.port}"
        scene.replica_settings = {
            0: {"ledger": parts._replace(netloc=netloc).geturl()},
            1: {"accounts": {"acme_cn": vendors, "acme_hw": vendors}},
            2: {"kafka": {"bootstrap_servers": f"127.0.0.1:{to_broker.port}"}},
        }
        yield Links(database=to_database, vendors=to_vendors, broker=to_broker)


async def _suffer(storm: FleetStorm, links: Links, toxic: Toxic, seconds: float) -> dict[str, Any]:
    """All three links are sick for a while, and work comes all the time; what that came to."""
    struck = {name: link.struck for name, link in links.all.items()}
    links.set(toxic)
    ends = time.monotonic() + seconds
    while time.monotonic() < ends - WAVE_SECONDS / 2:
        await storm.wave()
        await until_moment(time.monotonic() + WAVE_SECONDS)
    links.set("none")
    well = time.monotonic()
    times = await asyncio.gather(*(_recovered(storm, replica, well) for replica in range(3)))
    met = {name: link.struck - struck[name] for name, link in links.all.items()}
    closing = {"vendors"}  # nothing else closes connections that are in use
    must_meet = closing if toxic == "slow close" else set(met)
    assert all(met[name] for name in must_meet), f"{toxic} met nothing: {met}"
    recovered = ", ".join(f"{name} {time_:.1f} s" for name, time_ in zip(links.all, times, strict=True))
    return {f"{toxic}: chunks or connections struck": met, f"{toxic}: ready again after": recovered}


async def _recovered(storm: FleetStorm, replica: int, well: float) -> float:
    """How long until a replica has a session that stands, and says that it is ready."""

    async def stands() -> bool:
        return await storm.fleet.stands(replica)

    await storm.scene.until_async(stands, seconds=HEALTHY_SECONDS, what=f"a session of replica {replica}")
    await storm.fleet.ready(replica, seconds=HEALTHY_SECONDS)
    return time.monotonic() - well
