"""What the pages say is held to what stands: every arrow has its sentence, every test a page names exists."""

import re
from pathlib import Path

import pytest

from service.domain.lifecycle import ALLOWED, REOPENED

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_every_arrow_between_states_has_its_sentence() -> None:
    text = (ROOT / "docs" / "states.md").read_text()
    told = set(re.findall(r"^\| (\w+) \| (\w+) \| \w.+ \|$", text, re.MULTILINE)) - {("from", "to")}
    arrows = [*ALLOWED.items(), *REOPENED.items()]
    assert told == {(before.value, after.value) for before, afters in arrows for after in afters}


def test_every_test_that_a_page_names_exists() -> None:
    named = {name for page in PAGES for name in re.findall(r"`(test_\w+)`", page.read_text())}
    defined = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in [path.stem, *re.findall(r"def (test_\w+)", path.read_text())]
    }
    assert named <= defined, f"no such tests: {sorted(named - defined)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []
