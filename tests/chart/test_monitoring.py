"""What the chart gives to Prometheus and Grafana: the files of this repository, where their operators look for them."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.chart.rendering import CHART, SETS, Helm, of_kind


def test_rules_are_those_of_the_file_with_the_runbooks_address_in_front(
    helm: Helm, promtool: str, tmp_path: Path
) -> None:
    (made,) = of_kind(helm.resources(SETS["everything"]), "PrometheusRule")
    extracted = tmp_path / "rules.yaml"
    extracted.write_text(yaml.safe_dump(made["spec"]))
    checked = subprocess.run([promtool, "check", "rules", extracted], capture_output=True, text=True, check=False)  # noqa: S603 - found on the path
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert made["spec"] == yaml.safe_load(
        (CHART / "rules" / "cordboard.rules.yaml").read_text().replace(
            "runbook_url: ", "runbook_url: https://git.example.com/cordboard/blob/main/"
        )
    )  # fmt: skip


def test_rules_lead_into_the_repository_where_no_address_is_given(helm: Helm) -> None:
    (made,) = of_kind(helm.resources(SETS["kafka-tls"]), "PrometheusRule")
    assert made["spec"] == yaml.safe_load((CHART / "rules" / "cordboard.rules.yaml").read_text())


def test_dashboards_are_the_files_byte_for_byte(helm: Helm) -> None:
    (made,) = [
        r for r in of_kind(helm.resources(SETS["everything"]), "ConfigMap") if "dashboards" in r["metadata"]["name"]
    ]
    files = {f"cordboard-{file.name}": file.read_text() for file in (CHART / "dashboards").iterdir()}
    assert made["data"] == files
    assert made["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert len(json.dumps(made)) < 1_000_000, "more than Kubernetes keeps in one object"


@pytest.mark.parametrize("name", ["everything", "kafka-tls"])
def test_figures_of_every_server_are_read_once(helm: Helm, name: str) -> None:
    made = helm.resources(SETS[name])
    (monitor,) = of_kind(made, "ServiceMonitor")
    chosen = monitor["spec"]["selector"]["matchLabels"].items()
    read = [s["spec"]["selector"] for s in of_kind(made, "Service") if chosen <= s["metadata"]["labels"].items()]
    servers = [r for r in made if r["kind"] in {"StatefulSet", "Deployment"}]
    labels = [server["spec"]["template"]["metadata"]["labels"] for server in servers]
    assert [sum(selector.items() <= pod.items() for selector in read) for pod in labels] == [1] * len(servers)
