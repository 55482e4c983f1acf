"""Helm as the tests use it: what it makes of values, and the containers that are in there."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from tests.chart.expressions import ROOT

CHART: Final = ROOT / "helm"
HELM: Final = ROOT / ".cache" / "helm" / "helm"
VALUES: Final = sorted((Path(__file__).parent / "values").glob("*.yaml"))
SETS: Final = {values.stem: values for values in VALUES}
NEWEST: Final = "1.37"
OLDEST: Final = "1.25"

Resource = dict[str, Any]


@dataclass(frozen=True)
class Helm:
    """The program, without any cluster."""

    program: Path

    def run(self, *arguments: str | Path, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
        """Whatever is asked; its exit code is the caller's to judge."""
        command = [str(self.program), *map(str, arguments)]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603 - our own

    def resources(self, values: Path, kubernetes: str = NEWEST) -> Sequence[Resource]:
        """What is made of a file of values, for a cluster of that version."""
        return _resources(self, values, kubernetes)

    def refusal(self, values: Path, *settings: str) -> str:
        """What is said of values that can't be used."""
        changed = [word for setting in settings for word in ("--set", setting)]
        done = self.run("template", "cordboard", CHART, "--values", values, *changed)
        assert done.returncode != 0, "the values were accepted"
        assert done.stdout == "", "something was made of them"
        return done.stderr


@cache
def _resources(helm: Helm, values: Path, kubernetes: str) -> Sequence[Resource]:
    done = helm.run("template", "cordboard", CHART, "--values", values, "--kube-version", f"{kubernetes}.0")
    assert done.returncode == 0, done.stderr
    return [resource for resource in yaml.safe_load_all(done.stdout) if resource is not None]


@dataclass(frozen=True, kw_only=True)
class Pod:
    """A pod that is made, and what made it. Each has one container."""

    owner: str
    name: str
    spec: Mapping[str, Any]

    @property
    def container(self) -> Mapping[str, Any]:
        """The one container."""
        (one,) = self.spec["containers"]
        return dict(one)

    @property
    def environ(self) -> Mapping[str, str]:
        """Its variables, as the process finds them."""
        return {v["name"]: v.get("value", self.name) for v in self.container["env"]}


def pods(resources: Sequence[Resource]) -> Iterator[Pod]:
    """The first pod of each workload."""
    for resource in resources:
        if "template" in resource.get("spec", {}):
            kind = resource["kind"]
            yield Pod(owner=kind, name=f"{resource['metadata']['name']}-0", spec=resource["spec"]["template"]["spec"])


def of_kind(resources: Sequence[Resource], kind: str) -> Sequence[Resource]:
    """Those of one kind."""
    return [resource for resource in resources if resource["kind"] == kind]
