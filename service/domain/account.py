"""An account: one vendor tenancy, with what the planner and the quota need to know about it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import phonenumbers
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from service.domain.callback_url import objection

CallType = Literal["inbound", "outbound", "both"]


class NumberDefaults(BaseModel):
    """What an account adds to number events that do not say it themselves."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sip_trunk_id: int | None = Field(default=None, ge=1, description="SIP trunk made in the vendor's console")
    prefix: str | None = Field(default=None, min_length=1, max_length=32, description="prefix dialled when sending")
    call_type: CallType | None = Field(default=None, description="which calls the number serves")
    max_concurrent_calls: int | None = Field(default=None, ge=1, description="calls at one time")
    max_calls_per_second: int | None = Field(default=None, ge=1, description="new calls per second")
    allow_private_callbacks: bool = Field(
        default=False,
        description="callback URLs may lead to private, loopback and link-local addresses and to internal names, those "
        "of events too",
    )
    callback_url: str | None = Field(default=None, max_length=2048, description="https URL asked on a call in")

    @field_validator("callback_url")
    @classmethod
    def _may_be_asked(cls, url: str | None, info: ValidationInfo) -> str | None:
        fault = None if url is None else objection(url, allow_private=info.data.get("allow_private_callbacks", False))
        if fault is not None:
            raise ValueError(fault)
        return url


class CredentialsPolicy(BaseModel):
    """Where a SIP password that a vendor hands out goes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["none", "sealed"] = Field(
        default="none",
        description="`none`: fetched passwords are dropped at once; `sealed`: each leaves encrypted to the public key, "
        "on `provisioning.credentials`",
    )
    public_key_file: str | None = Field(
        default=None, min_length=1, description="PEM or JWK file of the receiver's public key, EC or RSA; with `sealed`"
    )

    @model_validator(mode="after")
    def _key_goes_with_sealing(self) -> Self:
        if self.mode == "sealed" and self.public_key_file is None:
            raise ValueError("sealed needs public_key_file")
        if self.mode == "none" and self.public_key_file is not None:
            raise ValueError("public_key_file is for mode: sealed; with none, passwords are dropped")
        return self


class Account(BaseModel):
    """What every account has, whichever its vendor; each vendor's room extends it with its wire settings.

    Times are seconds, quotas are requests per second. Secrets live only in the rooms' subclasses, masked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    default_quota: ClassVar[float] = 20.0

    name: str = Field(default="", description="set from its key under `accounts:`")
    vendor: str
    country: str = Field(default="CN", pattern=r"^[A-Z]{2}$", description="region in which national numbers are read")
    time_zone: str = Field(default="Asia/Shanghai", description="IANA zone in which plain dates are read")
    owns: tuple[str, ...] = Field(default=(), description="fields repaired when they drift from what was applied")
    numbers: NumberDefaults = NumberDefaults()
    credentials: CredentialsPolicy = CredentialsPolicy()
    quotas: Mapping[str, float] = Field(default_factory=dict, description="requests/s by operation, and `default`")
    quota_group: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9_]*$", description="accounts counted together")

    @field_validator("quotas")
    @classmethod
    def _quotas_are_positive(cls, quotas: Mapping[str, float]) -> Mapping[str, float]:
        if not all(0 < rate < math.inf for rate in quotas.values()):
            raise ValueError("a quota must be above 0 requests/s, and finite")
        return quotas

    @field_validator("time_zone")
    @classmethod
    def _time_zone_exists(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ValueError, OSError, ZoneInfoNotFoundError):  # an empty or foreign path, a directory, an unknown name
            raise ValueError("should be an IANA time zone, like Asia/Shanghai") from None
        return name

    @field_validator("country")
    @classmethod
    def _country_has_a_numbering_plan(cls, code: str) -> str:
        if code not in phonenumbers.SUPPORTED_REGIONS:
            raise ValueError("should be an ISO 3166 country with telephone numbers, like CN or GB")
        return code

    def quota_identity(self) -> tuple[str, ...]:
        """What the vendor counts together; rooms override it (TCCC: site and secret id; AICC: domain and app key)."""
        return (self.vendor, self.name)

    def group(self) -> str:
        """Name of the quota group: as configured, else a short hash of what the vendor counts together."""
        return self._group

    @cached_property
    def _group(self) -> str:
        if self.quota_group is not None:
            return self.quota_group
        digest = hashlib.sha256("\x00".join(self.quota_identity()).encode()).hexdigest()
        return f"{self.vendor}-{digest[:10]}"

    def rate(self, operation: str) -> float:
        """Requests per second allowed for an operation named `vendor.Operation` or plainly `Operation`."""
        plain = operation.rpartition(".")[2]
        return self.quotas.get(plain, self.quotas.get("default", self.default_quota))
