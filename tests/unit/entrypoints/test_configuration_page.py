"""The configuration page: the committed one is the one the models make."""

from __future__ import annotations

from pathlib import Path

from service.entrypoints.configuration_page import render_page
from service.settings import Settings, section_model
from service.vendors.registry import VENDORS

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_the_committed_page_is_that_of_the_models() -> None:
    assert PAGE.read_text() == render_page(), (
        "run: python -m service.entrypoints.configuration_page > docs/configuration.md"
    )


def test_every_setting_has_a_row_with_its_meaning() -> None:
    rows = [line for line in render_page().splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in row.split(" | ")] for row in rows]
    assert [row[0] for row in cells if not row[3]] == []
    for name, field in Settings.model_fields.items():
        model = section_model(field.annotation)
        for setting in model.model_fields if model else ():
            assert f"CORDBOARD_{name}__{setting}".upper() in render_page().upper()
    for vendor in VENDORS.values():
        assert f"`vendor: {vendor.name}`" in render_page()
