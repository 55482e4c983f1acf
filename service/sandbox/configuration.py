"""What a sandbox is started with: accounts, quotas, approval and the answers the vendors' pages leave open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import orjson

from service.sandbox.faults import FaultRule, rules_from_json

TENCENT = "tencent_ccc"
HUAWEI = "huawei_aicc"

DuplicateMode = Literal["error", "success", "overwrite", "dberror"]
"""What a create answers for something that exists; ``success`` changes nothing, ``overwrite`` does."""
MissingMode = Literal["dberror", "error"]
EmptyListMode = Literal["error", "clear", "ignore"]
Site = Literal["cn", "intl"]


class ConfigurationError(ValueError):
    """The configuration can't be used; the message names the place, never a secret."""


@dataclass(frozen=True, kw_only=True)
class TencentAccount:
    """One Tencent sub-account: its key pair, its site and the TCCC applications it may touch."""

    secret_id: str
    secret_key: str = field(repr=False)
    sdk_app_ids: tuple[int, ...]
    site: Site = "cn"
    token: str | None = field(default=None, repr=False)
    country_code: str = "86"
    """Own numbers become live as ``00`` + this + the national number as it was applied for."""


@dataclass(frozen=True, kw_only=True)
class HuaweiTenant:
    """One AICC tenant space. ``access_codes`` (code → media type) limits the routes; None lets every code pass."""

    app_key: str
    app_secret: str = field(repr=False)
    access_codes: Mapping[str, int] | None = None


@dataclass(frozen=True, kw_only=True)
class SandboxConfiguration:
    """Everything a sandbox needs to know at start. Times in seconds, quotas in requests per sliding second."""

    tencent: tuple[TencentAccount, ...] = ()
    huawei: tuple[HuaweiTenant, ...] = ()
    quotas: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Per vendor: operation → quota; the key ``default`` stands for every other operation (Tencent 20, Huawei 5)."""
    approval_seconds: float | None = 1.0
    """How long an own-number form waits before it is approved by itself; None: only by the admin endpoint."""
    pending_limit: int = 1000
    """Own-number forms that may wait per application before WaitingApprovalOverflow."""
    page_cap: int = 100
    """Largest page of any listing, whatever PageSize asks for."""
    duplicates: Mapping[str, DuplicateMode] = field(default_factory=dict)
    """Per create; default ``error``, for CreateOwnNumberApply ``success``: another form."""
    missing_extension: MissingMode = "dberror"
    """DescribeExtension and ModifyExtension of an unknown id: the vendor documents only InternalError.DBError."""
    empty_skill_groups: EmptyListMode = "error"
    """``SkillGroupIds: []``: undocumented, so refused unless told otherwise."""
    fuzzy_route_query: bool = True
    """queryCalledRoute matches accessCode and extCode by substring (exactness is not documented)."""
    default_token_seconds: int = 3300
    """Life of a Huawei token when X-Token-Expire is absent (undocumented)."""
    new_token_voids_old: bool = False
    seed: int = 0
    """Seeds SIP passwords, tokens and the faults' probabilities."""
    faults: tuple[FaultRule, ...] = ()


def configuration_from_json(document: Any) -> SandboxConfiguration:
    """Build a configuration from a decoded JSON object.

    Raises:
        ConfigurationError: an unknown name, a missing one, or a value of the wrong kind.
    """
    values = _object(document, "configuration", SandboxConfiguration)
    try:
        values["tencent"] = tuple(_tencent(item, f"tencent[{i}]") for i, item in enumerate(values.get("tencent", ())))
        values["huawei"] = tuple(_huawei(item, f"huawei[{i}]") for i, item in enumerate(values.get("huawei", ())))
        values["faults"] = rules_from_json(values.get("faults", []))
        configuration = SandboxConfiguration(**values)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(str(error)) from error
    _check(configuration)
    return configuration


def load_configuration(path: Path) -> SandboxConfiguration:
    """Read a configuration from a JSON file.

    Raises:
        ConfigurationError: the file is not JSON or not a configuration.
        OSError: the file can't be read.
    """
    try:
        document = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise ConfigurationError(f"{path}: not JSON ({error})") from error
    return configuration_from_json(document)


def _tencent(item: Any, where: str) -> TencentAccount:
    values = _object(item, where, TencentAccount)
    values["sdk_app_ids"] = tuple(values.get("sdk_app_ids", ()))
    return TencentAccount(**values)


def _huawei(item: Any, where: str) -> HuaweiTenant:
    return HuaweiTenant(**_object(item, where, HuaweiTenant))


def _object(item: Any, where: str, target: type) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise ConfigurationError(f"{where}: must be an object")
    unknown = sorted(set(item) - set(target.__dataclass_fields__))  # type: ignore[attr-defined]  # always a dataclass here
    if unknown:
        raise ConfigurationError(f"{where}: unknown {', '.join(unknown)}")
    return dict(item)


def _check(configuration: SandboxConfiguration) -> None:
    for vendor, quotas in configuration.quotas.items():
        if vendor not in {TENCENT, HUAWEI}:
            raise ConfigurationError(f"quotas: unknown vendor {vendor}")
        if any(not isinstance(value, int) or value < 1 for value in quotas.values()):
            raise ConfigurationError(f"quotas.{vendor}: every quota is a whole number from 1")
    if any(mode not in get_args(DuplicateMode) for mode in configuration.duplicates.values()):
        raise ConfigurationError(f"duplicates: must be one of {', '.join(get_args(DuplicateMode))}")
    if any(account.site not in get_args(Site) for account in configuration.tencent):
        raise ConfigurationError("tencent: site must be cn or intl")
