"""Trying a parser: whatever it is fed it ends soon, gives a value or an error of its own, and repeats no secret.

One knob: how many examples each parser gets in the sample, or how many seconds all of them share. A run prints its
seed; `FUZZ_SEED` repeats it.
"""

from __future__ import annotations

import gc
import logging
import os
import random
import resource
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Final, Generic, NoReturn, TypeVar

import structlog
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis.errors import HypothesisWarning
from hypothesis.strategies import SearchStrategy

from tests.fuzz.material import CANARY

HUNG_SECONDS: Final = 5.0
FRAMES: Final = 960
"""Python's own limit, but for what stands below a parser when the service runs."""
MOST_GROWTH_KIB: Final = 256 * 1024
"""By how much a parser may make the process grow, over all of its examples."""

M = TypeVar("M")
Told = str | None
"""What others get to see of an input: an error's words, a log line, an answer. None: there is nothing to see."""


@dataclass(frozen=True, kw_only=True)
class Parser(Generic[M]):
    """One parser with its material. `opened` gives the reading function; `errors` are the ones it declares.

    `seconds` is the processor time that one example may take: how busy the machine is does not count.
    """

    name: str
    material: SearchStrategy[M]
    opened: Callable[[], AbstractContextManager[Callable[[M], Told]]]
    errors: tuple[type[Exception], ...] = ()
    seconds: float = 0.2


def plain(read: Callable[[M], Told]) -> Callable[[], AbstractContextManager[Callable[[M], Told]]]:
    """For a parser that needs nothing opened."""
    return lambda: nullcontext(read)


@dataclass
class Tally:
    """What became of a parser's examples."""

    examples: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    growth_kib: int = 0
    failure: str | None = None

    def row(self, name: str) -> str:
        """A row of the table."""
        errors = ", ".join(f"{kind} {number:,}" for kind, number in self.errors.most_common()) or "none"
        verdict = "FAILED" if self.failure else "ok"
        figures = f"{self.examples:>9,} {self.slowest * 1000:>7.1f} ms {self.growth_kib / 1024:>5.0f} MiB"
        return f"{name:32} {figures}  {verdict:6}  declared errors: {errors}"


class HungError(BaseException):
    """A parser used so much processor time on one input that it counts as hung; nothing may catch it by habit."""


class _Heard(logging.Handler):
    """Keeps what was logged during one example."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def structured(self, _: object, __: str, event: MutableMapping[str, Any]) -> NoReturn:
        """The only processor of structlog's: keeps the line, and writes it nowhere."""
        self.lines.append(repr(event))
        raise structlog.DropEvent

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@contextmanager
def _listening() -> Iterator[_Heard]:
    heard, root = _Heard(), logging.getLogger()
    handlers, level = root.handlers, root.level
    root.handlers = [heard]  # alone: who collects lines would collect those of every example
    root.setLevel(logging.DEBUG)
    logging.getLogger("asyncio").setLevel(logging.INFO)
    structlog.configure(processors=[heard.structured])
    try:
        yield heard
    finally:
        structlog.reset_defaults()
        root.handlers = handlers
        root.setLevel(level)
        logging.getLogger("asyncio").setLevel(logging.NOTSET)


def _hung(*_: object) -> None:
    raise HungError(f"more than {HUNG_SECONDS:g} s of processor time on one input")


@contextmanager
def _bounded() -> Iterator[None]:
    """As much time as is never needed, and as deep a stack as in production: hypothesis would lend a deeper one."""
    handler, limit = signal.signal(signal.SIGVTALRM, _hung), sys.getrecursionlimit()
    depth, frame = 0, sys._getframe()
    while frame.f_back is not None:
        depth, frame = depth + 1, frame.f_back
    sys.setrecursionlimit(depth + FRAMES)
    signal.setitimer(signal.ITIMER_VIRTUAL, HUNG_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        sys.setrecursionlimit(limit)
        signal.signal(signal.SIGVTALRM, handler)


def try_one(parser: Parser[M], read: Callable[[M], Told], given_: M, heard: _Heard, tally: Tally) -> None:
    """Feed the parser one input. Raises AssertionError for a broken promise, and what the parser does not declare."""
    heard.lines.clear()
    tally.examples += 1
    told, spent = _timed(parser, read, given_, tally)
    if (
        spent >= parser.seconds
    ):  # once more: what is loaded at first use, or a collection of garbage, is not the parser's
        told, again = _timed(parser, read, given_, Tally())
        spent = min(spent, again)
    tally.slowest = max(tally.slowest, spent)
    assert CANARY not in (told or ""), f"{parser.name} repeats what it was given: {told}"
    assert not any(CANARY in line for line in heard.lines), f"{parser.name} logs what it was given"
    assert spent < parser.seconds, f"{parser.name} took {spent:.3f} s of processor time"


def _timed(parser: Parser[M], read: Callable[[M], Told], given_: M, tally: Tally) -> tuple[Told, float]:
    begun = time.process_time()
    try:
        with _bounded():
            told = read(given_)
    except parser.errors as declared:
        tally.errors[type(declared).__name__] += 1
        told = "".join(traceback.format_exception(declared)) + repr(declared)
    return told, time.process_time() - begun


def try_many(parser: Parser[Any], *, examples: int, seed: int, tally: Tally) -> None:
    """Feed the parser so many inputs of its own; what fails is shrunk and raised."""
    gc.collect()
    gc.freeze()  # what is there already would be looked through again and again, at an example's expense
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with _listening() as heard, parser.opened() as read:

        @seeded(seed)
        @settings(
            max_examples=examples,
            deadline=None,  # measured here, in processor time
            database=None,
            derandomize=False,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
            print_blob=False,
        )
        @given(parser.material)
        def trial(given_: Any) -> None:
            try_one(parser, read, given_, heard, tally)

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Generating overly large repr", HypothesisWarning)
            trial()
    tally.growth_kib += resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert tally.growth_kib < MOST_GROWTH_KIB, (
        f"{parser.name} made the process grow by {tally.growth_kib / 1024:.0f} MiB"
    )


def a_seed() -> int:
    """The one of `FUZZ_SEED`, else any."""
    return int(os.environ.get("FUZZ_SEED") or random.SystemRandom().randrange(2**32))


def try_all(parsers: tuple[Parser[Any], ...], *, seconds: float, seed: int, examples: int = 200) -> dict[str, Tally]:
    """Feed every parser in turn, again and again until the seconds are used; one that failed is left out then."""
    tallies = {parser.name: Tally() for parser in parsers}
    ends, turn = time.monotonic() + seconds, 0
    while time.monotonic() < ends and not all(tally.failure for tally in tallies.values()):
        for parser in parsers:
            tally = tallies[parser.name]
            if tally.failure is None and (turn == 0 or time.monotonic() < ends):
                _try(parser, tally, examples, seed + turn)
        turn += 1
        _say(f"turn {turn}, {sum(t.examples for t in tallies.values()):,} examples, seed {seed}")
    return tallies


def _try(parser: Parser[Any], tally: Tally, examples: int, seed: int) -> None:
    try:
        try_many(parser, examples=examples, seed=seed, tally=tally)
    except (Exception, HungError) as broken:  # noqa: BLE001 - the other parsers go on; it is told at the end
        tally.failure = f"{parser.name}, FUZZ_SEED={seed}:\n{''.join(traceback.format_exception(broken))}"
        _say(tally.failure)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
