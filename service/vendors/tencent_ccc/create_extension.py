"""CreateExtension: make an extension stand as wanted, by creating it, by changing it, or by leaving it alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.application.ports import PresentRead
from service.domain.outcome import Call, ErrorClass, Failure, Json, Move, Outcome, Result, Seen, Succeeded, WhenUnclear
from service.domain.wanted import ExtensionLast, ExtensionWanted
from service.vendors.tencent_ccc.account import TencentCccAccount
from service.vendors.tencent_ccc.wire import TencentRequest

NAME = "tencent_ccc.CreateExtension"
MODIFY = "tencent_ccc.ModifyExtension"


class CreateExtensionRequest(TencentRequest):
    """tencentcloud.com/document/product/1229/59753, read 2026-05; `relation` is the agent's e-mail."""

    sdk_app_id: int
    extension_id: str
    extension_name: str
    skill_group_ids: tuple[int, ...] | None = None
    relation: str | None = None


class ModifyExtensionRequest(TencentRequest):
    """Only the fields that are to change; the vendor leaves absent ones as they are."""

    sdk_app_id: int
    extension_id: str
    extension_name: str | None = None
    skill_group_ids: tuple[int, ...] | None = None
    relation: str | None = None


class CreateExtension:
    """Fulfils `VendorOperation`. The caller picks the id, so the present can be read before and after."""

    name = NAME
    writes = True
    when_unclear = WhenUnclear.READ_BACK

    def __init__(self, account: TencentCccAccount, present_read: PresentRead) -> None:
        """`present_read` is the account's reader of extensions."""
        self._account = account
        self.present_read: PresentRead | None = present_read

    def decide(self, wanted: Mapping[str, Json], seen: Seen | None, *, ours: bool) -> Move:
        """Absent: create, if a name is known. Ours: change the given fields that differ. Another's: conflict."""
        want = ExtensionWanted.model_validate(wanted)
        if seen is None:
            raise ValueError(f"{NAME} is decided on a read of the present only")
        if seen.state is None:
            return self._create(_completed(want))
        if not (ours or _is_for(want, seen.state)):
            return Failure(
                error_class=ErrorClass.CONFLICT,
                code="ExtensionTaken",
                message="the extension exists and is not related to this agent",
                field="extension",
            )
        changes = differing_fields(want, seen.state)
        if changes:
            return self._modify(want, changes)
        return _succeeded(Result.UNCHANGED if ours else Result.ADOPTED, seen.state)

    async def judge(self, wanted: Mapping[str, Json], answer: Mapping[str, Json], call: Call) -> Outcome:  # noqa: ARG002 - the answer is empty
        """Neither call answers with a field: a positive answer is all there is to know."""
        return _succeeded(Result.DONE, {"extension": ExtensionWanted.model_validate(wanted).extension})

    def _create(self, want: ExtensionWanted) -> Move:
        if want.name is None:
            return Failure(
                error_class=ErrorClass.INCOMPLETE,
                code="missing:name",
                message="the extension is absent, and the `name` to create it with is known to nobody",
                field="name",
            )
        request = CreateExtensionRequest(
            sdk_app_id=self._account.sdk_app_id,
            extension_id=want.extension,
            extension_name=want.name,
            skill_group_ids=want.skill_group_ids or None,
            relation=want.email if _folded(want.email) else None,
        )
        return Call(operation=NAME, account=self._account.name, body=request.body(), creates=True)

    def _modify(self, want: ExtensionWanted, changes: Mapping[str, Any]) -> Call:
        request = ModifyExtensionRequest(sdk_app_id=self._account.sdk_app_id, extension_id=want.extension, **changes)
        return Call(operation=MODIFY, account=self._account.name, body=request.body())


def _completed(want: ExtensionWanted) -> ExtensionWanted:
    """What to create: as given, and where nothing is given as it was applied last."""
    last = want.last or ExtensionLast()
    return want.model_copy(
        update={
            "name": last.name if want.name is None else want.name,
            "email": want.email if _folded(want.email) else last.email,
            "skill_group_ids": want.skill_group_ids or last.skill_group_ids,
        }
    )


def differing_fields(want: ExtensionWanted, state: Mapping[str, Json]) -> dict[str, Any]:
    """The given fields that stand otherwise at the vendor, by their names in ModifyExtension.

    E-mails are compared trimmed and case-folded, skill groups as sets. An empty e-mail or list of skill groups counts
    as not given: whether the vendor would clear or ignore it is not documented.
    """
    changes: dict[str, Any] = {}
    if want.name is not None and want.name != state["name"]:
        changes["extension_name"] = want.name
    if _folded(want.email) and not _is_for(want, state):
        changes["relation"] = want.email
    if want.skill_group_ids and {str(group) for group in want.skill_group_ids} != set(state["skill_group_ids"]):
        changes["skill_group_ids"] = want.skill_group_ids
    return changes


def _is_for(want: ExtensionWanted, state: Mapping[str, Json]) -> bool:
    """The vendor relates the extension to this agent's e-mail."""
    return bool(_folded(want.email)) and _folded(want.email) == _folded(state["email"])


def _folded(email: str | None) -> str:
    return (email or "").strip().casefold()


def _succeeded(result: Result, state: Mapping[str, Json]) -> Succeeded:
    facts = {name: state[name] for name in ("extension", "full_extension") if state.get(name)}
    return Succeeded(result=result, facts=facts)
