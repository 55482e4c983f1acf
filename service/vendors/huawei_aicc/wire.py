"""Base models of AICC's JSON: camelCase with the vendor's own exceptions, tolerant in what we read."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class HuaweiRequest(BaseModel):
    """A request's body; absent fields are left out, never null."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )

    def body(self) -> dict[str, Any]:
        """The fields under the vendor's names, as JSON values."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class HuaweiReply(BaseModel):
    """The fields of an answer that we use."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        hide_input_in_errors=True,
    )

    def fields(self) -> dict[str, Any]:
        """The fields under the vendor's names; secrets stay masked values."""
        return self.model_dump(mode="python", by_alias=True)


class NothingReply(HuaweiReply):
    """The answer of createCalledRoute and modifyCalledRoute: a return code and nothing else, not even an id."""
