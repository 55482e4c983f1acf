"""A pod's files, laid out under a folder as the kubelet would: what the process then finds at which path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import trustme

from service.settings import Faults, Settings, load_settings
from tests.chart.rendering import Pod, Resource, of_kind

FILED: Final = "FAKE-content-of-a-file"
BY_OTHERS: Final = "/vault/secrets/acme_cn"
"""What a set of values says that somebody else puts into its pods."""


def settings_in(pod: Pod, made: Sequence[Resource], root: Path) -> Settings:
    """What the process in a pod reads, with the pod's paths moved below `root`. Fails with all faults."""
    maps = {each["metadata"]["name"]: each for each in of_kind(made, "ConfigMap")}
    _lay_out(pod, maps, root)
    environ = {name: _below(root, value) for name, value in pod.environ.items()}
    path = Path(environ["CORDBOARD_CONFIG"]) if "CORDBOARD_CONFIG" in environ else None
    if path is not None:
        path.write_text(_below(root, path.read_text()))
    loaded = load_settings(path, environ)
    assert not isinstance(loaded, Faults), [str(fault) for fault in loaded]
    return loaded


def _below(root: Path, text: str) -> str:
    return text.replace("/etc/cordboard", f"{root}/etc/cordboard").replace(BY_OTHERS, f"{root}{BY_OTHERS}")


def _lay_out(pod: Pod, maps: Mapping[str, Resource], root: Path) -> None:
    """Write what the pod's volumes bring; of ConfigMaps that are not made here, and of Secrets, something fake."""
    volumes = {volume["name"]: volume for volume in pod.spec["volumes"]}
    for mount in pod.container["volumeMounts"]:
        folder = root / mount["mountPath"].lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        volume = volumes.get(mount["name"], {})
        for name, content in _files(volume, maps):
            _write(folder / name, content, volume.get("projected", {}).get("defaultMode", 0o644))
    (root / BY_OTHERS.lstrip("/")).parent.mkdir(parents=True)
    _write(root / BY_OTHERS.lstrip("/"), FILED, 0o440)


def _write(file: Path, content: str, mode: int) -> None:
    file.write_text(content)
    file.chmod(mode)


def _files(volume: Mapping[str, Any], maps: Mapping[str, Resource]) -> Iterator[tuple[str, str]]:
    if "configMap" in volume:
        made = maps.get(volume["configMap"]["name"])
        yield from made["data"].items() if made is not None else ()
    for source in volume.get("projected", {}).get("sources", ()):
        (held,) = source.values()
        yield from ((item["path"], _content(item["path"])) for item in held["items"])


def _content(path: str) -> str:
    """What TLS is spoken with is read at once, and has to be what it should."""
    name = path.rpartition(".")[2]
    return pem_files().get(name, FILED)


@cache
def pem_files() -> Mapping[str, str]:
    """An authority, and a certificate of its with the key, by the settings that name such files."""
    authority = trustme.CA()
    client = authority.issue_cert("cordboard.example")
    return {
        "ca_file": authority.cert_pem.bytes().decode(),
        "cert_file": client.cert_chain_pems[0].bytes().decode(),
        "key_file": client.private_key_pem.bytes().decode(),
    }
