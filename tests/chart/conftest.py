"""What the chart's tests ask for."""

import shutil

import pytest


@pytest.fixture(scope="session")
def promtool() -> str:
    """Prometheus's own checker; `.ci/need prometheus` brings it."""
    found = shutil.which("promtool")
    assert found is not None, "no `promtool` found; `.ci/need prometheus` installs it or says how"
    return found
