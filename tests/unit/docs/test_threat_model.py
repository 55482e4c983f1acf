"""The threat model says of every threat what stops it, and names a test that shows it."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[3] / "docs" / "threat-model.md"
HEADING = ("could", "what stops it", "shown by")


def rows() -> list[tuple[str, ...]]:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    cells = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]
    return [row for row in cells if row != HEADING and not set("".join(row)) <= set("- ")]


def test_there_are_threats_from_every_side() -> None:
    assert len(re.findall(r"^## Who |^## The operator", PAGE.read_text(), re.MULTILINE)) == 8
    assert len(rows()) > 30


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:60])
def test_every_threat_has_an_answer_and_a_test(row: tuple[str, ...]) -> None:
    """That the tests exist is checked for every page alike, in `test_pages`."""
    threat, answer, shown = row
    assert threat
    assert answer
    assert re.fullmatch(r"`test_\w+`(, `test_\w+`)*", shown)
