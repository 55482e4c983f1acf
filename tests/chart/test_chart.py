"""The chart, as helm makes it: Kubernetes would take it, and the service can live in it."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import jsonschema
import kubernetes_validate
import pytest
import typer
import yaml

from service.entrypoints.cli import app
from tests.chart.mounting import FILED, settings_in
from tests.chart.rendering import CHART, HELM, NEWEST, OLDEST, SETS, VALUES, Helm, Resource, of_kind, pods

EACH = pytest.mark.parametrize("values", VALUES, ids=[values.stem for values in VALUES])
OPERATOR: Final = "monitoring.coreos.com/v1"


def test_helm_finds_nothing_to_mend(helm: Helm) -> None:
    done = helm.run("lint", "--strict", CHART)
    assert done.returncode == 0, done.stdout + done.stderr


@EACH
def test_helm_finds_nothing_to_mend_in_what_is_made_of_values(helm: Helm, values: Path) -> None:
    done = helm.run("lint", "--strict", CHART, "--values", values)
    assert (done.returncode, "[WARNING]" in done.stdout) == (0, False), done.stdout + done.stderr


def test_chart_can_be_packed_and_installed_from_the_package(helm: Helm, tmp_path: Path) -> None:
    assert helm.run("package", CHART, "--destination", tmp_path).returncode == 0
    (package,) = tmp_path.iterdir()
    made = helm.run("template", "cordboard", package, "--values", SETS["everything"])
    assert made.returncode == 0, made.stderr
    assert "kind: PrometheusRule" in made.stdout


@EACH
@pytest.mark.parametrize("kubernetes", [OLDEST, NEWEST])
def test_kubernetes_knows_every_field(helm: Helm, values: Path, kubernetes: str) -> None:
    made = helm.resources(values, kubernetes)
    assert {"StatefulSet", "Service", "ConfigMap"} <= {resource["kind"] for resource in made}
    for resource in made:
        _validate(resource, kubernetes)


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("StatefulSet", ["spec", "template", "spec", "containers", 0]),
        ("NetworkPolicy", ["spec", "egress", 0]),
        ("ServiceMonitor", ["spec", "endpoints", 0]),
        ("PrometheusRule", ["spec", "groups", 0, "rules", 0]),
    ],
)
def test_a_misspelt_field_would_be_noticed(helm: Helm, kind: str, path: list[str | int]) -> None:
    resource = deepcopy(of_kind(helm.resources(SETS["everything"]), kind)[0])
    at: Any = resource
    for part in path:
        at = at[part]
    at["misspelt"] = "x"
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError), match="misspelt"):
        _validate(resource, OLDEST)


@EACH
def test_service_reads_its_settings_as_the_pods_find_them(helm: Helm, values: Path, tmp_path: Path) -> None:
    """With the files where they are mounted, under the rights that they are given."""
    made = helm.resources(values)
    for number, pod in enumerate(pods(made)):
        root = tmp_path / str(number)
        settings = settings_in(pod, made, root)
        assert settings.ledger == yaml.safe_load(values.read_text())["config"].get("ledger", settings.ledger)
        if pod.owner != "Job":
            secrets = {secret.get_secret_value() for _, secret in settings.secrets()}
            assert {secret for secret in secrets if secret.startswith(FILED)} == {FILED}
        if pod.owner == "StatefulSet":
            assert settings.kafka.group_instance_id == pod.name


@EACH
def test_every_container_is_given_a_command_that_there_is(helm: Helm, values: Path) -> None:
    commands: Any = typer.main.get_command(app)
    for pod in pods(helm.resources(values)):
        assert "command" not in pod.container, "the image's own entry point is the program"
        name, *options = pod.container["args"]
        commands.commands[name].make_context(name, options)


@EACH
def test_pods_are_as_restricted_as_kubernetes_can_say(helm: Helm, values: Path) -> None:
    for pod in pods(helm.resources(values)):
        context, inner = pod.spec["securityContext"], pod.container["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert inner == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        assert pod.spec["automountServiceAccountToken"] is False
        assert pod.spec["enableServiceLinks"] is False
        assert pod.container["resources"]["limits"]["memory"]


@EACH
def test_no_secret_stands_in_what_is_made_and_none_is_a_variable(helm: Helm, values: Path) -> None:
    made = helm.resources(values)
    assert of_kind(made, "Secret") == []
    for pod in pods(made):
        assert [v["name"] for v in pod.container["env"] if "secretKeyRef" in v.get("valueFrom", {})] == []


def test_users_are_the_clusters_where_none_is_given(helm: Helm) -> None:
    (context, *_) = [pod.spec["securityContext"] for pod in pods(helm.resources(SETS["openshift"]))]
    assert {"runAsUser", "runAsGroup", "fsGroup"} & set(context) == set()


def test_one_server_does_everything_on_a_volume_of_its_own(helm: Helm) -> None:
    made = helm.resources(SETS["one-server"])
    (pod,) = pods(made)
    assert (pod.owner, pod.container["args"]) == ("StatefulSet", ["run"])
    (workload,) = of_kind(made, "StatefulSet")
    (claim,) = workload["spec"]["volumeClaimTemplates"]
    mounts = {mount["name"]: mount["mountPath"] for mount in pod.container["volumeMounts"]}
    assert mounts[claim["metadata"]["name"]] == "/var/lib/cordboard"


def test_fleet_has_workers_an_api_and_a_job_that_migrates_before_them(helm: Helm) -> None:
    made = helm.resources(SETS["fleet"])
    assert {pod.owner: pod.container["args"] for pod in pods(made)} == {
        "StatefulSet": ["run", "--without-api"],
        "Deployment": ["run", "--api-only"],
        "Job": ["migrate"],
    }
    (job,) = of_kind(made, "Job")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"


def test_job_that_migrates_needs_nothing_that_the_release_makes_and_one_secret_alone(helm: Helm) -> None:
    (job,) = [pod for pod in pods(helm.resources(SETS["fleet"])) if pod.owner == "Job"]
    ((source,),) = [volume["projected"]["sources"] for volume in job.spec["volumes"] if "projected" in volume]
    assert source["secret"]["name"] == "cordboard-ledger"
    assert [volume for volume in job.spec["volumes"] if "configMap" in volume] == []


@EACH
def test_services_and_budgets_find_their_pods_and_no_others(helm: Helm, values: Path) -> None:
    made = helm.resources(values)
    labels = [r["spec"]["template"]["metadata"]["labels"] for r in made if "template" in r.get("spec", {})]
    selectors = [service["spec"]["selector"] for service in of_kind(made, "Service")]
    selectors += [r["spec"]["selector"]["matchLabels"] for r in of_kind(made, "PodDisruptionBudget")]
    selectors += [r["spec"]["podSelector"]["matchLabels"] for r in of_kind(made, "NetworkPolicy")]
    assert [len([pod for pod in labels if chosen.items() <= pod.items()]) for chosen in selectors] == [1] * len(
        selectors
    )


@EACH
def test_port_that_is_probed_and_served_is_the_one_that_is_listened_on(helm: Helm, values: Path) -> None:
    made = helm.resources(values)
    port = _settings(made)["http"]["port"]
    for pod in pods(made):
        if pod.owner != "Job":
            assert pod.container["ports"] == [{"name": "http", "containerPort": port}]
            probes = [pod.container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")]
            assert [(probe["port"], probe["path"]) for probe in probes] == [
                ("http", "/livez"), ("http", "/livez"), ("http", "/readyz"),
            ]  # fmt: skip
    assert {p["port"] for service in of_kind(made, "Service") for p in service["spec"]["ports"]} == {port}


@EACH
def test_pod_is_given_the_time_that_the_service_takes_to_stop(helm: Helm, values: Path) -> None:
    made = helm.resources(values)
    (worker,) = [pod for pod in pods(made) if pod.owner == "StatefulSet"]
    seconds = _settings(made).get("timing", {}).get("shutdown_seconds", 25)
    assert worker.spec["terminationGracePeriodSeconds"] >= 3 * seconds + 15


def test_a_changed_configuration_makes_other_pods(helm: Helm, tmp_path: Path) -> None:
    document = yaml.safe_load(SETS["fleet"].read_text())
    document["config"]["log"] = {"level": "debug"}
    changed = tmp_path / "changed.yaml"
    changed.write_text(yaml.safe_dump(document))
    before, after = (_checksums(helm.resources(values)) for values in (SETS["fleet"], changed))
    assert len(before) == 2
    assert before.isdisjoint(after)


def test_whole_numbers_stay_whole(helm: Helm) -> None:
    (configuration,) = of_kind(helm.resources(SETS["one-server"]), "ConfigMap")
    assert "sdk_app_id: 1400000123\n" in configuration["data"]["cordboard.yaml"]


def test_names_that_look_like_numbers_stay_text(helm: Helm, tmp_path: Path) -> None:
    document = yaml.safe_load(SETS["kafka-tls"].read_text())
    document["image"] = {"tag": "1.10", "pullSecrets": ["1000"]}
    document["pods"] = {"serviceAccountName": "007", "priorityClassName": "12", "labels": {"tier": "1"}}
    document["storage"] = {"size": "9000000000", "storageClassName": "1"}
    document |= {"nameOverride": "123", "files": _renamed(document["files"], "42")}
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(document))
    for resource in helm.resources(tmp_path / "values.yaml"):
        _validate(resource, NEWEST)


def test_digest_wins_over_the_tag(helm: Helm) -> None:
    images = {name: {pod.container["image"] for pod in pods(helm.resources(SETS[name]))} for name in SETS}
    assert images["one-server"] == {"cordboard:0.1.0"}
    (image,) = images["everything"]
    assert image.startswith("registry.example.com/apps/cordboard@sha256:")


def _renamed(files: Mapping[str, Mapping[str, str]], name: str) -> dict[str, dict[str, str]]:
    return {setting: {**file, "existingSecret": name} for setting, file in files.items()}


def _validate(resource: Resource, kubernetes: str) -> None:
    if resource["apiVersion"] == OPERATOR:
        _of_the_operator(resource["kind"]).validate(resource)
    else:
        kubernetes_validate.validate(resource, kubernetes, strict=True)


def _settings(made: Sequence[Resource]) -> Mapping[str, Any]:
    (found,) = [r["data"]["cordboard.yaml"] for r in of_kind(made, "ConfigMap") if "cordboard.yaml" in r["data"]]
    settings: Mapping[str, Any] = yaml.safe_load(found)
    return settings


def _checksums(made: Sequence[Resource]) -> set[str]:
    metadata = [r["spec"]["template"]["metadata"] for r in made if r["kind"] in {"StatefulSet", "Deployment"}]
    return {f"{number} {each['annotations']['checksum/config']}" for number, each in enumerate(metadata)}


def _of_the_operator(kind: str) -> jsonschema.Draft202012Validator:
    """The schema that the operator installs for a kind, made strict; its patterns are Go's, so it is not checked."""
    file = HELM.with_name(f"monitoring.coreos.com_{kind.lower()}s.yaml")
    (version,) = yaml.safe_load(file.read_text())["spec"]["versions"]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    _close(schema)
    return jsonschema.Draft202012Validator(schema)


def _close(schema: dict[str, Any]) -> None:
    """Take no field that is not named, wherever fields are named."""
    if "properties" in schema:
        schema.setdefault("additionalProperties", False)
    for inner in (*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")):
        if isinstance(inner, dict):
            _close(inner)
