"""Failpoints are inert unless armed twice over, and count how often they were passed."""

import asyncio
import os
import signal

import pytest

from service.adapters.failpoints import ARMED, CHOSEN, POINTS, Failpoints


class _Door:
    def __init__(self) -> None:
        self.passed: list[str] = []

    async def open(self, name: str) -> str:
        self.passed.append(name)
        return name

    def shut(self) -> None:
        self.passed.append("shut")

    async def both(self) -> None:
        await self.open("within")


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What would have been killed, and how."""
    found: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, how: found.append((pid, how)))
    return found


@pytest.mark.parametrize("environ", [{}, {CHOSEN: "claim.before"}, {ARMED: "1"}, {CHOSEN: "claim.before", ARMED: "0"}])
async def test_unarmed_points_leave_everything_as_it_is(environ: dict[str, str], killed: list[tuple[int, int]]) -> None:
    points, door = Failpoints.of(environ), _Door()
    assert points.around(door, open="claim") is door
    assert points.within(door, open="claim") is door
    assert "open" not in vars(door)
    points.reached("claim.before")
    assert killed == []


@pytest.mark.parametrize(("name", "before"), [("claim.before", 0), ("claim.after", 1)])
async def test_the_process_is_killed_at_the_point_at_its_time(
    name: str, before: int, killed: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    points, door = Failpoints.of({CHOSEN: f"{name}:2", ARMED: "1"}), _Door()
    watched = points.around(door, open="claim", shut="taken")
    assert await watched.open("first") == "first"
    watched.shut()
    assert killed == []

    def at_death(pid: int, how: int) -> None:
        killed.append((pid, how))
        assert len(door.passed) == 2 + before

    monkeypatch.setattr(os, "kill", at_death)
    await watched.open("second")
    assert killed == [(os.getpid(), signal.SIGKILL)]
    await watched.open("third")
    assert len(killed) == 1


async def test_calls_that_a_target_makes_of_itself_pass_the_points_within_it(killed: list[tuple[int, int]]) -> None:
    points, door = Failpoints.of({CHOSEN: "commit.after", ARMED: "1"}), _Door()
    points.within(door, open="commit")
    await asyncio.create_task(door.both())
    assert len(killed) == 1


def test_a_name_that_is_no_point_is_refused() -> None:
    with pytest.raises(ValueError, match="no such failpoint"):
        Failpoints.of({CHOSEN: "nowhere", ARMED: "1"})


def test_every_step_has_a_point_on_either_side() -> None:
    assert len(POINTS) == len(set(POINTS)) == 30
