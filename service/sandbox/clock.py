"""The sandbox's two clocks: one that only goes forward, one that the vendor's signatures are checked against."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SandboxClock:
    """Where time comes from; tests put their own functions in.

    ``monotonic`` is the machine's, so arrivals can be compared between processes. Seconds throughout.
    """

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
