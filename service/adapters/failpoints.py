"""Failpoints: named moments around every durable step at which a test lets the process die, as a power cut would.

Inert unless two variables of the environment are set: CORDBOARD_FAILPOINTS_ARMED=1, and CORDBOARD_FAILPOINT=name or
name:nth (the nth time that the process comes by). Unarmed, `around` and `within` give back what they were given, so a
running service holds none of this.
"""

from __future__ import annotations

import inspect
import os
import signal
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, cast

from service.application.ports import VendorClient
from service.domain.outcome import Call

ARMED: Final = "CORDBOARD_FAILPOINTS_ARMED"
CHOSEN: Final = "CORDBOARD_FAILPOINT"
STEPS: Final = (
    "session",  # the ledger's new session
    "takeover",  # putting in doubt what was left in flight
    "fetch",  # records from Kafka
    "intake",  # their transaction
    "taken",  # letting go of them
    "commit",  # of their offsets
    "claim",  # of due commands
    "slots",  # taken from the ledger
    "read",  # a look at the present
    "mark",  # "about to send"
    "write",  # the call that changes something
    "settle",  # its outcome
    "release",  # handing back on a stop
    "publish",  # to Kafka
    "published",  # marking that
)
POINTS: Final = tuple(f"{step}.{side}" for step in STEPS for side in ("before", "after"))
"""Every name there is."""

T = TypeVar("T")
Step = str | Callable[..., str]


class Failpoints:
    """Kills its own process when it comes by the chosen point for the chosen time."""

    def __init__(self, chosen: str | None = None, nth: int = 1) -> None:
        """Without a name nothing is armed. Raises ValueError for a name that is none."""
        if chosen is not None and chosen not in POINTS:
            raise ValueError(f"{CHOSEN}: no such failpoint; there are {', '.join(POINTS)}")
        self._chosen = chosen
        self._left = nth

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Failpoints:
        """As the environment says; armed only if both variables say so."""
        name, _, nth = environ.get(CHOSEN, "").partition(":")
        if environ.get(ARMED) != "1" or not name:
            return cls()
        return cls(name, int(nth or 1))

    def reached(self, name: str) -> None:
        """Come by a point; does not return if it is the one."""
        if name == self._chosen:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def around(self, target: T, **steps: Step) -> T:
        """The target, its named methods between the points of their steps; for others the target is as it was."""
        if self._chosen is None:
            return target
        watched = {name: self._between(getattr(target, name), step) for name, step in steps.items()}
        return cast("T", _Watched(target, watched))

    def within(self, target: T, **steps: Step) -> T:
        """The same, where the target also calls these methods of its own."""
        if self._chosen is not None:
            for name, step in steps.items():
                setattr(target, name, self._between(getattr(target, name), step))
        return target

    def _between(self, method: Callable[..., Any], step: Step) -> Callable[..., Any]:
        def named(*given: Any) -> str:
            return step if isinstance(step, str) else step(*given)

        async def awaited(*given: Any, **named_: Any) -> Any:
            self.reached(f"{named(*given)}.before")
            result = await method(*given, **named_)
            self.reached(f"{named(*given)}.after")
            return result

        def called(*given: Any, **named_: Any) -> Any:
            self.reached(f"{named(*given)}.before")
            result = method(*given, **named_)
            self.reached(f"{named(*given)}.after")
            return result

        return awaited if inspect.iscoroutinefunction(method) else called


def exchange_step(client: VendorClient) -> Callable[..., str]:
    """Whether a call to the client's vendor only reads."""
    operations = client.operations.values()
    reads = {operation.name for operation in operations if not operation.writes}
    reads |= {operation.present_read.operation for operation in operations if operation.present_read is not None}

    def step(call: Call, *_: object) -> str:
        return "read" if call.operation in reads else "write"

    return step


class _Watched:
    """Stands for its target; some of its methods are others."""

    def __init__(self, target: object, methods: Mapping[str, Callable[..., Any]]) -> None:
        self._target = target
        self._methods = methods

    def __getattr__(self, name: str) -> Any:
        return self._methods[name] if name in self._methods else getattr(self._target, name)
