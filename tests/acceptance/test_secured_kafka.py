"""The whole service on a Kafka that asks who comes, ends every connection after seconds, and is never told a secret.

aiokafka can't authenticate anew on a connection (KIP-368), so the broker ends each when its time is over, instead of
answering. That is routine: nothing is lost, nothing is told twice, and no line or figure calls for anybody.
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import ConsumerRecord

from service.sandbox.journal import duplicate_effects
from tests.acceptance.events import hired
from tests.acceptance.scene import Scene
from tests.authority import USER, Authority
from tests.kafka.broker import KafkaBroker
from tests.kafka.security import PASSWORD, SHORT_SECONDS, secure_kafka, set_scram_password

NEXT_PASSWORD = "FAKE-next-password-0123456789"
WRONG = "FAKE-wrong-password-9876543210"
PASSWORD_VARIABLE = "CORDBOARD_KAFKA__SECURITY__PASSWORD"
TOKEN_SECONDS = 6.0
EVERY_SECONDS = 0.2
MOST_SECONDS = 5.0
"""From a hire to the end of its plan; without the ends of connections it is a tenth of a second."""
QUIET = ("offset_commit_failures_total", "producer_rebuilds_total", "publish_failures_total", "loop_failures_total")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def secured(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    with secure_kafka(tmp_path_factory.mktemp("kafka"), authority) as running:
        yield running


class Watched:
    """Hires all the while; what became of each, and whether the service was ever not ready."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.sent: dict[str, float] = {}
        self.away: Counter[str] = Counter()

    async def hire_for(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        async with self.scene.producer() as produce:
            while time.monotonic() < until:
                number = 1000 + len(self.sent)
                await produce([hired(number)])
                self.sent[f"A{number}"] = time.time()
                self.away[await self.scene.away()] += 1
                await asyncio.sleep(EVERY_SECONDS)

    async def is_routine(self, *, rebalances: int = 1) -> float:
        """Nothing lost, nothing twice, nobody called; the longest time from a hire to the end of its plan."""
        scene = self.scene
        await scene.until(lambda: len(scene.plan_ends()) == len(self.sent), seconds=30, what="every plan's end")
        assert len(scene.effects("CreateExtension")) == len(self.sent)
        assert duplicate_effects(scene.journal) == []
        told = Counter(event["id"] for event in scene.events())
        assert {event_id for event_id, times in told.items() if times > 1} == set(), "told twice"
        assert {figure: value for figure in QUIET if (value := await scene.metric(figure))} == {}
        assert await scene.metric("rebalances_total") == rebalances, "it stays a member of its group"
        assert scene.events("provisioning.account.quarantined") == []
        assert self.away.keys() == {""}, "ready all the time"
        assert [line for line in _lines(scene) if line["level"] == "error"] == []
        return max(ended - self.sent[who] for who, ended in _ends(scene).items())


def _lines(scene: Scene) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in scene.log_text.splitlines() if line.startswith("{")]


def _ends(scene: Scene) -> dict[str, float]:
    def is_end(message: ConsumerRecord[bytes | None, bytes | None]) -> bool:
        return ("ce_type", b"provisioning.plan.completed.v1") in message.headers

    return {(message.key or b"").decode(): message.timestamp / 1000 for message in scene.messages if is_end(message)}


def _secured(broker: KafkaBroker, authority: Authority, listener: str, **security: Any) -> dict[str, Any]:
    known = {"protocol": "SASL_SSL", "ca_file": str(authority.ca_file), **security}
    return {"kafka": {"bootstrap_servers": broker.address(listener), "security": known}}


def _write(path: Path, secret: str) -> None:
    """As whoever rotates a secret does: another file in its place."""
    beside = path.with_suffix(".next")
    beside.touch(mode=0o600)
    beside.write_text(secret)
    beside.rename(path)


async def test_connections_that_end_with_their_tokens_are_routine(
    secured: KafkaBroker, authority: Authority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tokens of six seconds from a file, connections of at most five: three ends of each in this time."""
    token_file, shown = tmp_path / "token", list[str]()

    async def renew() -> None:
        while True:
            shown.append(authority.token(seconds=TOKEN_SECONDS))
            _write(token_file, shown[-1])
            await asyncio.sleep(TOKEN_SECONDS / 3)

    renewing = asyncio.create_task(renew())
    await asyncio.sleep(0)
    settings = _secured(secured, authority, "SHORT", mechanism="OAUTHBEARER", oauth={"token_file": str(token_file)})
    async with Scene(secured, tmp_path, tag=".token", settings=settings) as scene:
        worker = scene.start_worker()
        await scene.until_async(scene.is_ready, seconds=30, what="ready")
        watched = Watched(scene)
        await watched.hire_for(3 * SHORT_SECONDS)
        longest = await watched.is_routine()
        assert _lost(scene) >= 6, "of consumer, coordinator and producer, twice at least"
        assert await scene.stop_worker(worker) == 0
        assert await scene.committed() == len(watched.sent)
        assert scene.log_lines("a secret was renewed")
        assert [token for token in shown if token in scene.log_text] == []
    renewing.cancel()
    _say(capsys, longest, watched)
    assert longest < MOST_SECONDS


async def test_a_token_that_nobody_renews_is_told_and_the_next_one_mends_all(
    secured: KafkaBroker, authority: Authority, tmp_path: Path
) -> None:
    token_file = tmp_path / "token"
    _write(token_file, authority.token())
    settings = _secured(secured, authority, "SHORT", mechanism="OAUTHBEARER", oauth={"token_file": str(token_file)})
    async with Scene(secured, tmp_path, tag=".ended", settings=settings) as scene:
        worker = scene.start_worker()
        await scene.until_async(scene.is_ready, seconds=30, what="ready")
        await scene.produce([hired(100)])
        await scene.until(lambda: len(scene.plan_ends()) == 1, seconds=20, what="the first hire")
        _write(token_file, authority.token(seconds=-60))
        await _until_away(scene, "away: kafka", seconds=40)
        await scene.produce([hired(n) for n in range(101, 111)])
        refused = "the broker refuses the token (SASL OAUTHBEARER)"
        await scene.until(lambda: refused in scene.log_text, seconds=20, what=refused)
        assert (await scene.get("/livez"))[0] == 200
        _write(token_file, authority.token())
        await scene.until(lambda: len(scene.plan_ends()) == 11, seconds=40, what="every plan's end")
        await _until_away(scene, "", seconds=20)
        assert worker.poll() is None
        assert await scene.stop_worker(worker) == 0
        assert await scene.committed() == 11
        assert len(scene.effects("CreateExtension")) == 11
        assert duplicate_effects(scene.journal) == []


async def _until_away(scene: Scene, what: str, *, seconds: float) -> None:
    async def says_so() -> bool:
        return what in await scene.away() if what else not await scene.away()

    await scene.until_async(says_so, seconds=seconds, what=f"/readyz saying '{what}'")


async def test_a_wrong_password_and_a_broker_that_is_not_trusted_are_told_without_any_secret(
    secured: KafkaBroker, authority: Authority, tmp_path: Path
) -> None:
    as_user = {"mechanism": "SCRAM-SHA-256", "username": USER}
    for listener, password, told in (
        ("SASL", WRONG, "the broker refuses user or password (SASL SCRAM-SHA-256)"),
        ("SASL", PASSWORD, "the broker's certificate does not verify"),
    ):
        folder = tmp_path / password
        folder.mkdir()
        settings = _secured(secured, authority if password == WRONG else Authority(folder), listener, **as_user)
        scene = Scene(secured, folder, tag=f".{password}", settings=settings, secrets={PASSWORD_VARIABLE: password})
        async with scene:
            worker = scene.start_worker()
            await scene.until(lambda told=told, scene=scene: told in scene.log_text, seconds=20, what=told)  # type: ignore[misc]
            assert "away: kafka" in await scene.away()
            assert (await scene.get("/livez"))[0] == 200
            assert password not in scene.log_text
            assert await scene.stop_worker(worker) == 0


@pytest.mark.long
async def test_a_minute_and_a_half_of_ends_with_quiet_times_and_a_password_that_is_rotated(
    secured: KafkaBroker, authority: Authority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    password_file = tmp_path / "password"
    _write(password_file, PASSWORD)
    settings = _secured(
        secured,
        authority,
        "SHORT",
        mechanism="SCRAM-SHA-512",
        username=USER,
        password_file=str(password_file),
    )
    async with Scene(secured, tmp_path, tag=".password", settings=settings) as scene:
        worker = scene.start_worker()
        await scene.until_async(scene.is_ready, seconds=30, what="ready")
        watched = Watched(scene)
        await watched.hire_for(4 * SHORT_SECONDS)
        await asyncio.sleep(3 * SHORT_SECONDS)  # nothing to do: what has ended is noticed by what comes next
        _write(password_file, NEXT_PASSWORD)
        await asyncio.to_thread(set_scram_password, secured, NEXT_PASSWORD)
        await watched.hire_for(8 * SHORT_SECONDS)
        longest = await watched.is_routine()
        await asyncio.to_thread(set_scram_password, secured, PASSWORD)
        assert _lost(scene) >= 20
        assert await scene.stop_worker(worker) == 0
        assert await scene.committed() == len(watched.sent)
        assert PASSWORD not in scene.log_text
        assert NEXT_PASSWORD not in scene.log_text
    _say(capsys, longest, watched)
    assert longest < MOST_SECONDS


def _lost(scene: Scene) -> int:
    """How many requests of aiokafka's met the end of their connection."""
    return sum("closed" in line["event"] for line in _lines(scene) if line["logger"].startswith("aiokafka"))


def _say(capsys: pytest.CaptureFixture[str], longest: float, watched: Watched) -> None:
    hires, lost = len(watched.sent), _lost(watched.scene)
    with capsys.disabled():
        sys.stdout.write(f"\n  {hires} hires, {lost} requests met a connection's end, longest {longest:.2f} s\n")
