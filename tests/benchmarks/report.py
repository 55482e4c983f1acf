"""What the rounds come to: ratios within a round, their least, median and most; as a table, as JSON, as a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from tests.benchmarks.contest import Measured

Rounds = Sequence[Mapping[str, Measured]]
"""Each round's measurements by contender."""


def ratios(rounds: Rounds, name: str, to: str, figure: Callable[[Measured], float]) -> list[float]:
    """One contender's figure by another's, round by round, ascending."""
    return sorted(figure(one[name]) / figure(one[to]) for one in rounds if name in one and to in one)


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Least / median / most."""
    found = sorted(values)
    return " / ".join(f"{value:,.{digits}f}" for value in (found[0], median(found), found[-1]))


def table(rounds: Rounds, base: str) -> str:
    """A row a contender, in Markdown."""
    lines = [
        f"| contender | calls/s | x {base} | own CPU µs/call | x {base} | database µs/call | peak MiB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in dict.fromkeys(name for one in rounds for name in one):
        mine = [one[name] for one in rounds if name in one]
        columns = (
            name,
            spread([m.calls_per_second for m in mine], 0),
            spread(ratios(rounds, name, base, lambda m: m.calls_per_second)),
            spread([m.cpu_us_per_call for m in mine], 0),
            spread(ratios(rounds, name, base, lambda m: m.cpu_us_per_call)),
            spread([m.database_cpu_seconds / (2 * m.hires) * 1e6 for m in mine], 0),
            spread([m.peak_mib for m in mine], 0),
        )
        lines.append(f"| {' | '.join(columns)} |")
    return "\n".join(lines)


def write(folder: Path, name: str, rounds: Rounds, base: str, where: Mapping[str, Any]) -> str:
    """Keep everything under a scenario's name; the table."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "scenario": name,
        "environment": where,
        "rounds": [{k: asdict(m) for k, m in r.items()} for r in rounds],
    }
    (folder / f"{name}.json").write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    text = table(rounds, base)
    (folder / f"{name}.md").write_text(f"# {name}\n\n{text}\n")
    draw(folder / f"{name}.svg", rounds, base, name)
    return text


def draw(path: Path, rounds: Rounds, base: str, title: str) -> None:
    """A bar a contender: the median ratio, with its least and most."""
    import matplotlib as mpl  # noqa: PLC0415 - slow to import, and needed at the very end only

    mpl.use("svg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    names = list(dict.fromkeys(name for one in rounds for name in one))
    found = [ratios(rounds, name, base, lambda m: m.calls_per_second) for name in names]
    middle = [median(values) for values in found]
    low = [mid - values[0] for mid, values in zip(middle, found, strict=True)]
    high = [values[-1] - mid for mid, values in zip(middle, found, strict=True)]
    figure, axes = plt.subplots(figsize=(8, 0.5 * len(names) + 1.2))
    axes.barh(names, middle, xerr=[low, high], color="#4c72b0", ecolor="#333333", capsize=3)
    axes.invert_yaxis()
    axes.set_xlabel(f"vendor calls per second, x {base} of the same round")
    axes.set_title(title)
    for place, value in enumerate(middle):
        axes.text(value, place, f"  {value:.3g}", va="center")
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
