"""Lines that say the same over and over: the first few of a minute are written, then how many were left out."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

SPELL_SECONDS: Final = 60.0
MOST_ALIKE: Final = 10  # lines of a spell that are written
MOST_KINDS: Final = 1000  # kinds of lines that are remembered


@dataclass(slots=True)
class _Spell:
    begun: float
    written: int = 0
    left_out: int = 0


class Repeats:
    """Counts lines that are alike, each kind for itself."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """`monotonic`: seconds, by which a spell ends."""
        self._monotonic = monotonic
        self._spells: dict[Hashable, _Spell] = {}

    def left_out(self, kind: Hashable) -> int | None:
        """None if this line is to be left out; else how many alike were left out before it, since one was written."""
        now = self._monotonic()
        spell = self._spells.get(kind)
        if spell is None or now - spell.begun >= SPELL_SECONDS:
            self._make_room(now)
            before, spell = spell, _Spell(now)
            self._spells[kind] = spell
        else:
            before = None
        if spell.written >= MOST_ALIKE:
            spell.left_out += 1
            return None
        spell.written += 1
        return 0 if before is None else before.left_out

    def _make_room(self, now: float) -> None:
        """Forget what is over once there are many kinds; all of it if none is."""
        if len(self._spells) < MOST_KINDS:
            return
        kept = {kind: spell for kind, spell in self._spells.items() if now - spell.begun < SPELL_SECONDS}
        self._spells = kept if len(kept) < MOST_KINDS else {}
