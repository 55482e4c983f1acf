"""The bill of materials: every package of the runtime lock with its hashes and its licence, as CycloneDX 1.6.

`python -m tests.checks.sbom` checks that one can be made, and exits 1 for a package without a hash, or whose licence is
unknown or not among those that may be shipped; `--write FILE` also writes it. The lock knows the hashes, what is
installed knows the licences: no single tool reads both.
"""

import argparse
import re
import sys
import tomllib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from license_expression import get_spdx_licensing
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).resolve().parents[2]
LOCK: Final = "requirements.lock"
ALLOWED: Final = frozenset({"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "MPL-2.0", "PSF-2.0"})
"""Licences under which a package may be shipped beside ours, Apache-2.0: permissive ones, and MPL-2.0 for files that
are not changed. Of alternatives (`OR`) one is enough."""
SPELLINGS: Final[Mapping[str, str]] = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "ISC License": "ISC",
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: MIT License": "MIT",
}
"""What packages wrote before there were SPDX expressions."""
ELSEWHERE: Final[Mapping[str, str]] = {"colorama": "BSD-3-Clause"}
"""Packages of other systems, which cannot be asked here (read on their pages)."""
_PINNED: Final = re.compile(r"^(?P<name>[A-Za-z0-9][\w.\-]*)(?:\[[^\]]*\])?==(?P<version>[^\s;\\]+)")
_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True, kw_only=True)
class Package:
    """A package of the lock. `licence` is an SPDX expression, None if it is not known; `needs` are names."""

    name: str
    version: str
    hashes: tuple[str, ...]
    licence: str | None
    needs: frozenset[str] = frozenset()


def packages(lock: str) -> list[Package]:
    """The packages of a lock's text, with what those that are installed here say of themselves."""
    found = []
    for line in lock.replace("\\\n", " ").splitlines():
        if (pinned := _PINNED.match(line)) is None:
            continue
        name = canonicalize_name(pinned["name"])
        licence, needs = _said_by(name, pinned["version"])
        hashes = tuple(_HASH.findall(line))
        found.append(Package(name=name, version=pinned["version"], hashes=hashes, licence=licence, needs=needs))
    return found


def _said_by(name: str, version: str) -> tuple[str | None, frozenset[str]]:
    try:
        said = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return ELSEWHERE.get(name), frozenset()
    if said["Version"] != version:
        return None, frozenset()  # another version may be under another licence
    needs = [Requirement(text) for text in said.get_all("Requires-Dist") or ()]
    wanted = [need for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    fields = [*(said.get_all("License-Expression") or ()), *(said.get_all("License") or ())]
    classifiers = [text for text in said.get_all("Classifier") or () if text.startswith("License ::")]
    known = [expression for text in (*fields, *classifiers) if (expression := as_spdx(text)) is not None]
    return next(iter(known), None), frozenset(canonicalize_name(need.name) for need in wanted)


def as_spdx(text: str) -> str | None:
    """A licence as an SPDX expression; None for one that can't be told."""
    expression = SPELLINGS.get(text.strip(), text.strip())
    known = get_spdx_licensing().validate(expression)
    return str(known.normalized_expression) if not known.errors else None


def is_allowed(expression: str) -> bool:
    """Whether a package may be shipped under it: all of `AND`, one of `OR`."""
    tree = get_spdx_licensing().parse(expression)
    alternatives = tree.__class__.__name__ == "OR"
    parts = [is_allowed(str(part)) for part in tree.args]
    return (any if alternatives else all)(parts) if parts else str(tree) in ALLOWED


def faults(found: Sequence[Package]) -> Iterator[str]:
    """What is wrong with the packages."""
    if not found:
        yield "the lock holds no package, so nothing was shown"
    for package in found:
        if not package.hashes:
            yield f"{package.name}: no hash"
        if package.licence is None:
            yield f"{package.name}: its licence is not known; see SPELLINGS and ELSEWHERE"
        elif not is_allowed(package.licence):
            yield f"{package.name}: {package.licence} is not among the licences that may be shipped"


def bill(found: Sequence[Package], project: Mapping[str, str]) -> str:
    """The bill as JSON: the same for the same lock. Raises ValueError if it is not valid CycloneDX."""
    components = {package.name: _component(package) for package in found}
    ours = Component(
        name=project["name"],
        version=project["version"],
        type=ComponentType.APPLICATION,
        licenses=[LicenseExpression(project["license"])],
        bom_ref=project["name"],
    )
    document = Bom(components=components.values())
    document.metadata.component = ours
    for package in found:
        inside = [components[name] for name in sorted(package.needs) if name in components]
        document.register_dependency(components[package.name], inside)
    document.register_dependency(ours, components.values())
    listed = ",".join(sorted(digest for package in found for digest in package.hashes))
    document.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, f"{project['name']}@{project['version']}:{listed}")
    text = JsonV1Dot6(document).output_as_string(indent=2)
    if (wrong := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)) is not None:
        raise ValueError(f"not CycloneDX: {wrong}")
    return text


def _component(package: Package) -> Component:
    return Component(
        name=package.name,
        version=package.version,
        type=ComponentType.LIBRARY,
        purl=PackageURL("pypi", None, package.name, package.version),
        bom_ref=f"{package.name}@{package.version}",
        licenses=[LicenseExpression(package.licence)] if package.licence else [],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in package.hashes],
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, and write with `--write FILE`; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.checks.sbom", description=__doc__)
    parser.add_argument("--write", type=Path, metavar="FILE", help="also write it there")
    options = parser.parse_args(arguments)
    found = packages((ROOT / LOCK).read_text(encoding="utf-8"))
    if wrong := list(faults(found)):
        sys.stderr.writelines(f"{fault}\n" for fault in wrong)
        return 1
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = bill(found, project)
    if options.write is not None:
        options.write.parent.mkdir(parents=True, exist_ok=True)
        options.write.write_text(f"{text}\n", encoding="utf-8")
        sys.stdout.write(f"{options.write}\n")
    sys.stdout.write(f"{len(found)} packages, each with its hashes and a licence that may be shipped\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
