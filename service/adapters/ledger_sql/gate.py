"""Who is claimed next, once a ledger in SQL has found what is due: accounts in turn, past the holds that stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from service.application.ports import ClaimRoom
from service.domain.command import Command
from service.domain.ledger_state import Hold

RoomKey = tuple[str, str, str]  # quota group, operation, lane
Place = tuple[float, int, int]  # due_at, arrival, step_no
START: Place = (float("-inf"), 0, 0)


@dataclass(slots=True)
class Turns:
    """What claims remember between calls, in memory only.

    `last` is the account served last in a room, `places` where an account's scan stopped because a whole page
    stood blocked; the next scan goes on from there, so that blocked work never hides free work behind it.
    """

    last: dict[RoomKey, str] = field(default_factory=dict)
    places: dict[tuple[RoomKey, str], Place] = field(default_factory=dict)


@dataclass(slots=True)
class Gate:
    """The holds that stand, as of one call of `claim`.

    `closed` let nothing through but their probes. `ajar` have lost theirs: each lets one command through, which
    closes it. `probes` are the ids of all probes, also of lost ones.
    """

    closed: list[Hold] = field(default_factory=list)
    ajar: list[Hold] = field(default_factory=list)
    probes: frozenset[str] = frozenset()

    def passes(self, command: Command) -> bool:
        """True if no hold stops the command now."""
        return not any(hold.stops(command) for hold in self.closed)

    def taken(self, command: Command) -> None:
        """The command is claimed: what was ajar for it is closed."""
        for hold in [hold for hold in self.ajar if hold.stops(command)]:
            self.ajar.remove(hold)
            self.closed.append(hold)

    def shuts(self, account: str, operation: str) -> bool:
        """True if nothing of the account's operation passes except probes."""
        return any(
            hold.account in {None, account}
            and hold.operation in {None, operation}
            and hold.subject is None
            and hold.resource is None
            for hold in self.closed
        )


def room_key(room: ClaimRoom) -> RoomKey:
    """What names a room."""
    return (room.quota_group, room.operation, str(room.lane))


def place_of(command: Command) -> Place:
    """Where a claimable command stands in its account's queue."""
    return (command.due_at or 0.0, command.order.arrival, command.step_no)


def page_of(room: ClaimRoom) -> int:
    """How many of an account's due commands are looked at to fill a room: some may stand blocked."""
    return room.room * 4 + 50


def take_in_turn(
    room: ClaimRoom, queues: Mapping[str, Iterator[Command]], gate: Gate, turns: Turns, busy: set[str]
) -> list[Command]:
    """One command of each account's queue in turn, until the room is full; nothing of a subject or resource in `busy`.

    What is taken makes its own busy. The turn goes on where the last call stopped.
    """
    key = room_key(room)
    last = turns.last.get(key, "")
    names = sorted(queues, key=lambda name: (name <= last, name))
    taken: list[Command] = []
    while names and len(taken) < room.room:
        for name in list(names):
            command = next((c for c in queues[name] if not busy & {c.subject, c.resource} and gate.passes(c)), None)
            if command is None:
                names.remove(name)
                continue
            taken.append(command)
            gate.taken(command)
            busy |= {command.subject, command.resource}
            turns.last[key] = name
            if len(taken) == room.room:
                break
    return taken
