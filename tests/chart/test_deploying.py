"""docs/deploying.md and the chart's notes: their files are accepted, and their commands are there."""

import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import typer
import yaml

from service.entrypoints.cli import app
from tests.chart.expressions import ROOT
from tests.chart.mounting import settings_in
from tests.chart.rendering import CHART, SETS, Helm, pods

PAGE: Final = (ROOT / "docs" / "deploying.md").read_text()
FILES: Final[Mapping[str, str]] = dict(re.findall(r"`([\w-]+\.yaml)`[^`]*?:\n\n```yaml\n(.*?)```", PAGE, re.DOTALL))
PROSE: Final = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
LINES: Final = re.findall(r"^ {4,}(\w.*)$", PROSE, re.MULTILINE)
OF_HELM: Final = [line for line in LINES if line.startswith("helm ")]
CLUSTER: Final = {"helm rollback cordboard"}  # changes nothing but a cluster
CALLED: Final = re.compile(r"(?:^ *|`|-- )cordboard ([a-z-]+)((?: [\w-]+)*)", re.MULTILINE)


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder with the chart in it, and the page's files beside it."""
    shutil.copytree(CHART, tmp_path / "helm")
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    return tmp_path


def test_page_has_commands_and_files() -> None:
    assert set(FILES) == {"one-server.yaml", "fleet.yaml"}
    assert len(OF_HELM) >= 7
    assert set(OF_HELM) >= CLUSTER


@pytest.mark.parametrize("line", [line for line in OF_HELM if line not in CLUSTER])
def test_command_of_the_page_works_as_written(helm: Helm, desk: Path, line: str) -> None:
    """What would change a cluster is made, and not sent there."""
    _, verb, *rest = shlex.split(line)
    if verb in {"install", "upgrade"}:
        verb, rest = "template", [word for word in rest if word != "--install"]
    done = helm.run(verb, *rest, folder=desk)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("name", FILES)
def test_configuration_of_the_page_is_one_that_the_service_takes(helm: Helm, desk: Path, name: str) -> None:
    made = helm.resources(desk / name)
    for number, pod in enumerate(pods(made)):
        settings_in(pod, made, desk / str(number))


@pytest.mark.parametrize("name", ["one-server", "everything"])
def test_notes_name_commands_and_pods_that_there_are(helm: Helm, desk: Path, name: str) -> None:
    (desk / "helm" / "templates" / "notes.yaml").write_text(
        'kind: Notes\ntext: | {{- include (print $.Template.BasePath "/NOTES.txt") . | nindent 2 }}\n'
    )
    done = helm.run("template", "cordboard", "helm", "--namespace", "voice", "--values", SETS[name], folder=desk)
    made = yaml.safe_load_all(done.stdout)
    (notes,) = [each["text"] for each in made if each["kind"] == "Notes"]
    (worker,) = [pod.name for pod in pods(helm.resources(SETS[name])) if pod.owner == "StatefulSet"]
    assert notes.count(f"-n voice exec {worker} -- cordboard ") == 2
    assert _unknown(notes) == []


def test_every_command_that_the_page_names_is_there() -> None:
    assert len(CALLED.findall(PAGE)) >= 4
    assert _unknown(PAGE) == []


def _unknown(text: str) -> list[str]:
    """Commands that are called and do not exist, or not with these options."""
    known: Any = typer.main.get_command(app)
    found = []
    for called in CALLED.findall(text):
        name, options = called[0], [word for word in called[1].split() if word.startswith("-")]
        command = known.commands.get(name)
        has = {option for parameter in command.params for option in parameter.opts} if command is not None else set()
        found += [name] if command is None or not set(options) <= has else []
    return found
