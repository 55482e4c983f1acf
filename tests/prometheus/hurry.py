"""The rules of the chart made quick for a test: every time in them divided by one factor."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

SECONDS: Final[Mapping[str, int]] = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
WINDOW: Final = re.compile(r"\[(\d+)([smhd])\]")
AGE: Final = re.compile(r"(cordboard_\w+_seconds(?:\{[^}]*\})?\) > )(\d+)")
"""A threshold of a gauge that tells an age."""


def hurried(document: Mapping[str, Any], *, factor: float, windows: tuple[float, float], wait: float) -> dict[str, Any]:
    """A file of rules with its waits, ages and windows that much shorter.

    Each window stays within the bounds of `windows`, and no wait is shorter than `wait`: a busy machine answers late.

    Names stay: what is called `rate5m` then looks back on less.
    """
    shortest, longest = windows

    def window(seconds: float) -> str:
        return _milliseconds(min(longest, max(shortest, seconds / factor)))

    def expr(text: str) -> str:
        text = WINDOW.sub(lambda found: f"[{window(int(found[1]) * SECONDS[found[2]])}]", text)
        return AGE.sub(lambda found: f"{found[1]}{int(found[2]) / factor:g}", text)

    def rule(given: Mapping[str, Any]) -> dict[str, Any]:
        made = {**given, "expr": expr(given["expr"])}
        if "for" in given:
            made["for"] = _milliseconds(max(wait, int(given["for"][:-1]) * SECONDS[given["for"][-1]] / factor))
        return made

    groups = [{**group, "rules": [rule(given) for given in group["rules"]]} for group in document["groups"]]
    return {**document, "groups": groups}


def _milliseconds(seconds: float) -> str:
    return f"{round(1000 * seconds)}ms"
