"""What the chart's tests ask for."""

import shutil

import pytest

from tests.chart.rendering import HELM, Helm


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark whatever asks for helm, so that nobody has to remember to."""
    for item in items:
        if "helm" in getattr(item, "fixturenames", ()):
            item.add_marker("helm")


@pytest.fixture(scope="session")
def helm() -> Helm:
    """Helm itself; `make helm-cli` brings it."""
    assert HELM.is_file(), "helm is not there; `make helm-cli` builds it"
    return Helm(HELM)


@pytest.fixture(scope="session")
def promtool() -> str:
    """Prometheus's own checker; `.ci/need prometheus` brings it."""
    found = shutil.which("promtool")
    assert found is not None, "no `promtool` found; `.ci/need prometheus` installs it or says how"
    return found
