"""Who is let in, and where pods may go: what the settings need, and nothing else."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.rendering import SETS, Helm, of_kind


def test_everything_that_is_not_named_is_denied_both_ways(helm: Helm) -> None:
    policies = of_kind(helm.resources(SETS["everything"]), "NetworkPolicy")
    assert len(policies) == 3
    assert all(policy["spec"]["policyTypes"] == ["Ingress", "Egress"] for policy in policies)


@pytest.mark.parametrize(
    ("name", "policy", "ports"),
    [
        ("one-server", "cordboard", {53, 9092, 443}),
        ("kafka-tls", "cordboard", {53, 9094, 9095, 443}),
        ("fleet", "cordboard-worker", {53, 9092, 5432, 443, 28070}),
        ("fleet", "cordboard-api", {53, 5432}),
        ("fleet", "cordboard-migrate", {53, 5432}),
        ("everything", "cordboard-provisioning-worker", {53, 9093, 6432, 443, 4318, 3128}),
        ("openshift", "cordboard-worker", {53, 9092, 5432, 443}),
    ],
)
def test_pods_go_where_the_settings_send_them(helm: Helm, name: str, policy: str, ports: set[int]) -> None:
    (found,) = [
        each for each in of_kind(helm.resources(SETS[name]), "NetworkPolicy") if each["metadata"]["name"] == policy
    ]
    assert {port["port"] for rule in found["spec"]["egress"] for port in rule["ports"]} == ports


def test_way_to_the_vendors_leads_into_no_private_network(helm: Helm) -> None:
    (policy,) = of_kind(helm.resources(SETS["one-server"]), "NetworkPolicy")
    (vendors,) = [rule for rule in policy["spec"]["egress"] if rule["ports"] == [{"port": 443, "protocol": "TCP"}]]
    kept_out = {network for peer in vendors["to"] for network in peer["ipBlock"]["except"]}
    assert {"10.0.0.0/8", "169.254.0.0/16", "fc00::/7"} <= kept_out


def test_workers_are_asked_for_figures_by_whom_the_values_name_and_the_api_by_its_callers_too(helm: Helm) -> None:
    policies = {p["metadata"]["name"]: p for p in of_kind(helm.resources(SETS["everything"]), "NetworkPolicy")}
    worker, api = (policies[f"cordboard-provisioning-{part}"]["spec"]["ingress"] for part in ("worker", "api"))
    assert [_namespaces(rule) for rule in worker] == [["monitoring"]]
    assert [_namespaces(rule) for rule in api] == [["desk", "monitoring"]]
    assert "ingress" not in policies["cordboard-provisioning-migrate"]["spec"]


@pytest.mark.parametrize("name", ["one-server", "fleet"])
def test_naming_who_may_call_the_api_shuts_everybody_else_out(helm: Helm, tmp_path: Path, name: str) -> None:
    """Figures are read at the same port: that nobody is named for them must not open it."""
    document = yaml.safe_load(SETS[name].read_text())
    document["networkPolicy"] = {"apiFrom": [{"podSelector": {"matchLabels": {"app": "desk"}}}]}
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(document))
    policies = {p["metadata"]["name"]: p for p in of_kind(helm.resources(tmp_path / "values.yaml"), "NetworkPolicy")}
    (rule,) = policies["cordboard" if name == "one-server" else "cordboard-api"]["spec"]["ingress"]
    assert rule["from"] == document["networkPolicy"]["apiFrom"]


def _namespaces(rule: Mapping[str, Any]) -> list[str]:
    return [peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for peer in rule["from"]]
