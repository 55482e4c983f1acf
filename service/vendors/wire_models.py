"""Base models of every vendor's JSON: exact in what we send, tolerant in what we read; a room adds the spelling."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from contracts.fields import Label

MaybeLabel = Annotated[Label | None, BeforeValidator(lambda value: None if value == "" else value)]
"""A line of an answer that is passed on: up to 256 characters, no control characters. Empty says as much as absent."""


class WireRequest(BaseModel):
    """A request's body; absent fields are left out, never null."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True)

    def body(self) -> dict[str, Any]:
        """The fields under the vendor's names, as JSON values."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class WireReply(BaseModel):
    """The fields of an answer that we use; what can't be read is told without its content."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", validate_by_name=True, validate_by_alias=True, hide_input_in_errors=True
    )

    def fields(self) -> dict[str, Any]:
        """The fields under the vendor's names; secrets stay masked values."""
        return self.model_dump(mode="python", by_alias=True)
