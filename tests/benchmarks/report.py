"""What the rounds come to: ratios within a round, their least, median and most; as a table, as JSON, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from tests.benchmarks.contest import Figures

Rounds = Sequence[Mapping[str, Figures]]
"""Each round's figures by contender."""


def ratios(rounds: Rounds, name: str, to: str, figure: str) -> list[float]:
    """One contender's figure by another's, round by round, ascending."""
    return sorted(one[name][figure] / one[to][figure] for one in rounds if name in one and one.get(to, {}).get(figure))


def spread(values: Sequence[float]) -> str:
    """Least / median / most, to three digits."""
    found = sorted(values)
    return " / ".join(_digits(value) for value in (found[0], median(found), found[-1]))


def table(rounds: Rounds, base: str, compared: Sequence[str]) -> str:
    """A row a contender, in Markdown; the compared figures also as a multiple of the base's."""
    names = list(dict.fromkeys(name for one in rounds for name in one))
    figures = [figure for figure in rounds[0][names[0]] if any(one[name][figure] for one in rounds for name in one)]
    heads = [head for figure in figures for head in ((figure, f"x {base}") if figure in compared else (figure,))]
    lines = [f"| contender | {' | '.join(heads)} |", f"| --- |{' --- |' * len(heads)}"]
    for name in names:
        cells = []
        for figure in figures:
            cells.append(spread([one[name][figure] for one in rounds]))
            if figure in compared:
                cells.append(spread(ratios(rounds, name, base, figure)))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def write(
    folder: Path, name: str, rounds: Rounds, *, base: str, compared: Sequence[str], where: Mapping[str, Any]
) -> str:
    """Keep everything under a scenario's name; the table."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {"scenario": name, "environment": where, "rounds": rounds}
    (folder / f"{name}.json").write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    text = table(rounds, base, compared)
    (folder / f"{name}.md").write_text(f"# {name}\n\n{text}\n")
    draw(folder / f"{name}.svg", name, rounds, base, compared)
    return text


def draw(path: Path, title: str, rounds: Rounds, base: str, compared: Sequence[str]) -> None:
    """A bar a contender and figure: its median, with its least and most; as a multiple of the base where compared."""
    import matplotlib as mpl  # noqa: PLC0415 - slow to import, and needed at the very end only

    mpl.use("svg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    names = list(dict.fromkeys(name for one in rounds for name in one))
    figures = list(compared) or list(rounds[0][names[0]])[:2]
    picture, axes = plt.subplots(len(figures), 1, figsize=(8, (0.4 * len(names) + 1.2) * len(figures)), squeeze=False)
    for figure, ax in zip(figures, axes[:, 0], strict=True):
        found = [
            ratios(rounds, name, base, figure) if figure in compared else sorted(one[name][figure] for one in rounds)
            for name in names
        ]
        middle = [median(values) for values in found]
        around = [
            [mid - values[0] for mid, values in zip(middle, found, strict=True)],
            [values[-1] - mid for mid, values in zip(middle, found, strict=True)],
        ]
        ax.barh(names, middle, xerr=around, color="#4c72b0", ecolor="#333333", capsize=3)
        ax.invert_yaxis()
        ax.set_xlabel(f"{figure}, x {base} of the same round" if figure in compared else figure)
        for place, value in enumerate(middle):
            ax.text(value, place, f"  {_digits(value)}", va="center")
    axes[0, 0].set_title(title)
    picture.tight_layout()
    picture.savefig(path)
    plt.close(picture)


def _digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
