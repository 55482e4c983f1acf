"""An AICC account's settings: its domain, its app key, how long a token is asked for."""

from __future__ import annotations

import hashlib
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field, SecretStr, ValidationInfo, field_validator
from yarl import URL

from service.domain.account import Account
from service.vendors.wire_settings import CA_FILE, BaseUrl, CaFile, SecretFile, needed_value_or_file


class HuaweiAiccAccount(Account):
    """One AICC tenant space, opened with the app key and secret that the vendor's operator issued.

    The vendor publishes no flow-control figure; 5 requests/s per operation is our own cap.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    default_quota: ClassVar[float] = 5.0

    vendor: Literal["huawei_aicc"] = "huawei_aicc"
    base_url: BaseUrl = Field(description="https://domain of the tenant's API; http on loopback only")
    token_base_url: BaseUrl | None = Field(
        default=None, description="where tokens come from if not at base_url (the China site documents port 28070)"
    )
    ca_file: CaFile | None = Field(default=None, description=CA_FILE)
    app_key: SecretStr = Field(min_length=1, description="app key of the tenant space")
    app_secret_file: SecretFile | None = Field(default=None, exclude=True, description="file with the app secret")
    app_secret: SecretStr = Field(default=SecretStr(""), validate_default=True, description="the app secret")
    token_seconds: int = Field(default=3600, ge=60, le=3600, description="lifetime asked for a token, in seconds")

    @field_validator("app_secret")
    @classmethod
    def _secret_from_value_or_file(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        return needed_value_or_file(value, info)

    @classmethod
    def of(cls, account: Account) -> HuaweiAiccAccount:
        """The account as this room's own model; raises TypeError for another vendor's account, which is a bug."""
        if not isinstance(account, cls):
            raise TypeError(f"account {account.name!r} is not one of vendor huawei_aicc")
        return account

    def quota_identity(self) -> tuple[str, ...]:
        """Counted by domain and app key; the key goes in hashed."""
        digest = hashlib.sha256(self.app_key.get_secret_value().encode()).hexdigest()
        return (self.vendor, URL(self.base_url).authority, digest)
