"""Base models of TCCC's JSON: PascalCase names, exact in what we send, tolerant in what we read."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_pascal


class TencentRequest(BaseModel):
    """A request's body. Unknown fields are an error at the vendor, so absent ones are left out, never null."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_pascal, validate_by_name=True, validate_by_alias=True
    )

    def body(self) -> dict[str, Any]:
        """The fields under the vendor's names, as JSON values."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class TencentReply(BaseModel):
    """The business fields of `Response`; a reply without any is the normal answer to a write."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_pascal,
        validate_by_name=True,
        validate_by_alias=True,
        hide_input_in_errors=True,
    )

    def fields(self) -> dict[str, Any]:
        """The fields under the vendor's names; secrets stay masked values."""
        return self.model_dump(mode="python", by_alias=True)


class NothingReply(TencentReply):
    """The answer of CreateExtension, ModifyExtension and BindNumberCallInInterface: no business field."""
