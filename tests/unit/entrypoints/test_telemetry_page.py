"""The page of figures is the catalogue's."""

from pathlib import Path

from service.entrypoints.telemetry_page import render_page

PAGE = Path(__file__).resolve().parents[3] / "docs" / "telemetry.md"


def test_the_committed_page_is_that_of_the_catalogue() -> None:
    assert PAGE.read_text() == render_page(), "python -m service.entrypoints.telemetry_page > docs/telemetry.md"
