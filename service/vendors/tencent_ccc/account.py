"""A TCCC account's settings: site, instance, keys, and what every own-number form of the account carries."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator, model_validator
from yarl import URL

from service.domain.account import Account
from service.vendors.file_secret import FileSecret
from service.vendors.wire_settings import CA_FILE, BaseUrl, CaFile, SecretFile, needed_value_or_file, value_or_file

Site = Literal["cn", "intl"]

SITE_URLS: Mapping[str, str] = {
    "cn": "https://ccc.tencentcloudapi.com",
    "intl": "https://ccc.intl.tencentcloudapi.com",
}
"""The API host of each site (tencentcloud.com/document/product/1229/59753 and cloud.tencent.com/document/api/679,
read 2026-08)."""

_INTL_SUFFIX = ".intl.tencentcloudapi.com"
_ANY_SUFFIX = ".tencentcloudapi.com"


class OwnNumberForm(BaseModel):
    """What every CreateOwnNumberApply of the account carries beside the number; absent fields are not sent.

    The last three exist on the China site only (cloud.tencent.com/document/api/679/111404, read 2026-08).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mobile_ndd_prefix: str | None = Field(default=None, description="prefix dialled before mobile numbers")
    local_number_trim_ac: bool | None = Field(default=None, description="dial local numbers without area code")
    callee_format_passthrough: bool | None = Field(default=None, description="China site only")
    caller_format_passthrough: bool | None = Field(default=None, description="China site only")
    international_number_prefix: str | None = Field(default=None, description="China site only")

    @property
    def china_only(self) -> tuple[str, ...]:
        """Names of the given fields that the international site does not know."""
        names = ("callee_format_passthrough", "caller_format_passthrough", "international_number_prefix")
        return tuple(name for name in names if getattr(self, name) is not None)


class TencentCccAccount(Account):
    """One TCCC instance (`sdk_app_id`) of one site, with the API key that manages it.

    Secrets come as a value or in a file, which may be rotated.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    vendor: Literal["tencent_ccc"] = "tencent_ccc"
    site: Site = Field(default="cn", description="the vendor's site the instance lives on")
    base_url: BaseUrl = Field(
        default_factory=lambda data: SITE_URLS[data.get("site", "cn")],
        description="API host; default by site; https, http on loopback only",
    )
    sdk_app_id: int = Field(ge=1, description="the TCCC instance")
    ca_file: CaFile | None = Field(default=None, description=CA_FILE)
    secret_id_file: SecretFile | None = Field(
        default=None, exclude=True, description="file with its id; rotated with the key, as the vendor makes both anew"
    )
    secret_id: SecretStr = Field(default=SecretStr(""), validate_default=True, description="id of the API key")
    secret_key_file: SecretFile | None = Field(default=None, exclude=True, description="file with the API key")
    secret_key: SecretStr = Field(default=SecretStr(""), validate_default=True, description="the API key")
    token_file: SecretFile | None = Field(default=None, exclude=True, description="file with the STS token")
    token: SecretStr | None = Field(default=None, validate_default=True, description="STS token of a temporary key")
    own_number_form: OwnNumberForm = OwnNumberForm()
    numbers_page_size: int = Field(
        default=100,
        ge=1,
        le=1000,
        description="rows asked per page of DescribeNumbers; its maximum is not documented (a sibling's is 100)",
    )

    @field_validator("secret_id", "secret_key")
    @classmethod
    def _key_from_value_or_file(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        return needed_value_or_file(value, info)

    @field_validator("token")
    @classmethod
    def _token_from_value_or_file(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        return value_or_file(value, info)

    @model_validator(mode="after")
    def _fits_its_site(self) -> Self:
        host = URL(self.base_url).host or ""
        official_site = "intl" if host.endswith(_INTL_SUFFIX) else "cn"
        if host.endswith(_ANY_SUFFIX) and official_site != self.site:
            raise ValueError(f"base_url is a host of the other site; the account says site {self.site}")
        if self.site == "intl" and self.own_number_form.china_only:
            raise ValueError(f"own_number_form: {', '.join(self.own_number_form.china_only)}: China site only")
        return self

    @classmethod
    def of(cls, account: Account) -> TencentCccAccount:
        """The account as this room's own model; raises TypeError for another vendor's account, which is a bug."""
        if not isinstance(account, cls):
            raise TypeError(f"account {account.name!r} is not one of vendor tencent_ccc")
        return account

    def quota_identity(self) -> tuple[str, ...]:
        """The vendor counts by site and key (its sub-account); the key's id goes in hashed.

        One in a file changes when it is rotated, the sub-account does not: the file stands for it.
        """
        held = self.secret_id
        known_by = str(held.path) if isinstance(held, FileSecret) else held.get_secret_value()
        return (self.vendor, self.site, hashlib.sha256(known_by.encode()).hexdigest())
