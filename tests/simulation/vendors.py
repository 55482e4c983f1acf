"""Both vendors as the world has them: what stands there, what was asked when, and what came of it.

They live outside the process: a request on its way arrives also when its sender has died.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from service.domain.outcome import Answer, Call, ErrorClass, Failure, Reply
from service.vendors.huawei_aicc.routes_read import DEVICE_TYPES
from service.vendors.tencent_ccc.numbers import to_national, to_stored
from tests.simulation.scenario import Fate, Scenario, phone
from tests.simulation.virtual_loop import VirtualLoop

PATIENCE: Final = 5.0  # how long a client waits for an answer, seconds
WRITES: Final = frozenset(
    {
        "CreateExtension",
        "ModifyExtension",
        "CreateOwnNumberApply",
        "BindNumberCallInInterface",
        "createCalledRoute",
        "modifyCalledRoute",
    }
)
UNCLEAR: Final = frozenset({"lost_before", "lost_after", "db_before", "db_after", "gateway", "gateway_after"})
CREATES: Final = frozenset({"CreateExtension", "CreateOwnNumberApply", "createCalledRoute"})
PHONES: Final = {to_national(phone(n)): phone(n) for n in range(1, 21)} | {
    to_stored(phone(n)): phone(n) for n in range(1, 21)
}
STORED: Final = {phone(n): to_stored(phone(n)) for n in range(1, 21)}

LOST: Final = Failure(error_class=ErrorClass.AMBIGUOUS, code="ReadTimeout", message="no answer in time")
DB_ERROR: Final = Failure(error_class=ErrorClass.AMBIGUOUS, code="InternalError.DBError", message="failed somewhere")
BAD_GATEWAY: Final = Failure(error_class=ErrorClass.AMBIGUOUS, code="HTTP502", message="something in between")
THROTTLED: Final = Failure(error_class=ErrorClass.THROTTLED, code="RequestLimitExceeded", message="too fast")
UNREACHED: Final = Failure(error_class=ErrorClass.RETRYABLE, code="ConnectError", message="no connection")
REFUSED: Final = Failure(error_class=ErrorClass.PERMANENT, code="InvalidParameterValue", message="a value is refused")
EXISTS: Final = Failure(error_class=ErrorClass.PERMANENT, code="InvalidParameter", message="there is one")

State = Mapping[str, Any]


@dataclass(slots=True)
class Version:
    """What stood from a moment on (monotonic seconds), as listings have it."""

    since: float
    state: State


@dataclass(slots=True)
class Request:
    """One request, as the journal keeps it. Times on the monotonic clock; `command` is whose mark it was sent under."""

    call: Call
    sent_at: float
    resource: str | None
    command: str | None
    attempt: int
    life: int
    reply: Callable[[Reply], None]
    arrived_at: float | None = None
    applied: bool = False
    version: Version | None = None
    second: bool = False  # a create that made another one beside what stands
    fault: str | None = None
    heard: bool = False  # its answer reached the process that had sent it

    @property
    def name(self) -> str:
        """The operation without its vendor."""
        return self.call.operation.partition(".")[2]


@dataclass(slots=True)
class Application:
    """One form in a vendor's review."""

    number: str
    apply_id: int
    command: str | None
    fate: Fate
    verdict: str = "pending"


@dataclass(slots=True)
class Vendors:
    """What stands at both, with its past (for reads that lag), and the journal of all requests."""

    loop: VirtualLoop
    random: Random
    scenario: Scenario
    tell: Callable[[str, str, int | None], None]
    journal: list[Request] = field(default_factory=list)
    past: dict[str, list[Version]] = field(default_factory=dict)
    applications: list[Application] = field(default_factory=list)
    faults_left: int = 0
    on_effect: Callable[[Request], None] = lambda request: None
    on_fault: Callable[[], None] = lambda: None
    on_moment: Callable[[str], None] = lambda name: None

    def __post_init__(self) -> None:
        self.faults_left = self.scenario.vendor_faults
        for extension, owner in self.scenario.foreign_extensions.items():
            state = {"ExtensionId": extension, "ExtensionName": "Z", "Relation": owner, "SkillGroupId": ""}
            self.past[f"extension:acme_cn/{extension}"] = [Version(0.0, state)]

    # ------------------------------------------------------------------ a request on its way

    def receive(self, request: Request) -> None:
        """A request has left its process."""
        fault = self._fault(request)
        request.fault = fault
        self.journal.append(request)
        latency = 0.001 + 0.004 * self.random.random()
        if fault == "unreached":
            self._answer(request, UNREACHED, latency)
        elif fault == "lost_before":
            self._answer(request, LOST, PATIENCE)
        else:
            self.loop.call_world(self.loop.monotonic + latency, self._arrive, request)

    def _fault(self, request: Request) -> str | None:
        if self.faults_left <= 0 or self.random.random() >= self.scenario.vendor_trouble:
            return None
        self.faults_left -= 1
        self.on_fault()
        kinds = ["lost_before", "unreached", "throttled", "db_before", "gateway", "late"]
        if request.name in WRITES:
            kinds += ["lost_after", "lost_after", "db_after", "gateway_after", "late"]
            kinds += ["db_after"] * 4 if self.scenario.read_lag > 1.0 else []
            kinds += ["refused"] if self.random.random() < 0.3 else []
        return self.random.choice(kinds)

    def _arrive(self, request: Request) -> None:
        request.arrived_at = self.loop.monotonic
        self.on_moment("arrived")
        fault = request.fault
        pause = 0.002 + 0.2 * self.random.random() ** 3
        before = {"throttled": THROTTLED, "db_before": DB_ERROR, "gateway": BAD_GATEWAY, "refused": REFUSED}
        if fault in before:
            self._answer(request, before[fault], pause)
            return
        reply = self._serve(request)
        after = {"lost_after": LOST, "db_after": DB_ERROR, "gateway_after": BAD_GATEWAY}
        if fault == "lost_after":
            self._answer(request, LOST, PATIENCE)
        elif fault == "late":
            self._answer(request, reply, self.random.uniform(1.0, PATIENCE - 1.0))
        else:
            self._answer(request, after.get(fault or "", reply), pause)

    def _answer(self, request: Request, reply: Reply, after: float) -> None:
        self.loop.call_world(self.loop.monotonic + after, request.reply, reply)

    def _serve(self, request: Request) -> Reply:
        found = getattr(self, f"_{request.name}")(request, request.call.body)
        if request.name in WRITES:
            self.on_effect(request)
            self.on_moment("applied")
        return found if isinstance(found, Failure) else Answer(body=found, request_id=f"req-{len(self.journal)}")

    # ------------------------------------------------------------------ what stands

    def now(self, resource: str) -> State | None:
        """What stands now."""
        history = self.past.get(resource)
        return history[-1].state if history else None

    def _seen(self, resource: str) -> State | None:
        """What a read shows: what stood before the lag."""
        at = self.loop.monotonic - self.scenario.read_lag
        shown = None
        for version in self.past.get(resource, ()):
            if version.since <= at:
                shown = version.state
        return shown

    def _put(self, request: Request, state: State) -> None:
        assert request.resource is not None
        request.applied = True
        request.version = Version(self.loop.monotonic, state)
        self.past.setdefault(request.resource, []).append(request.version)

    def hear(self, request: Request) -> None:
        """The answer has reached its process."""
        request.heard = True

    def _exists(self, request: Request) -> Any:
        """A create of what is there."""
        match self.scenario.duplicate_create:
            case "success":
                return {}
            case "db_error":
                return DB_ERROR
            case "second":
                request.applied = request.second = True
                return {}
            case _:
                return EXISTS

    # ------------------------------------------------------------------ extensions

    def _CreateExtension(self, request: Request, body: Any) -> Any:  # noqa: N802
        if self.now(str(request.resource)) is not None:
            return self._exists(request)
        groups = ",".join(str(g) for g in body.get("SkillGroupIds") or ())
        state = {
            "ExtensionId": body["ExtensionId"],
            "ExtensionName": body["ExtensionName"],
            "Relation": body.get("Relation", ""),
            "SkillGroupId": groups,
        }
        self._put(request, state)
        return {}

    def _ModifyExtension(self, request: Request, body: Any) -> Any:  # noqa: N802
        state = self.now(str(request.resource))
        if state is None:
            return EXISTS
        names = {"ExtensionName": "ExtensionName", "Relation": "Relation"}
        self._put(request, {**state, **{mine: body[name] for name, mine in names.items() if name in body}})
        return {}

    def _DescribeExtensions(self, request: Request, body: Any) -> Any:  # noqa: N802
        rows = [self._seen(f"extension:acme_cn/{one}") for one in body["ExtensionIds"]]
        found = [row for row in rows if row is not None]
        return {"Total": len(found), "ExtensionList": found}

    def _DescribeExtension(self, request: Request, body: Any) -> Any:  # noqa: N802
        return {
            "ExtensionId": body["ExtensionId"],
            "ExtensionDomain": "sip.example.com",
            "Password": "FAKE-sip-password",
            "OutboundProxy": "proxy.example.com",
            "Transport": "tls",
        }

    # ------------------------------------------------------------------ numbers

    def _CreateOwnNumberApply(self, request: Request, body: Any) -> Any:  # noqa: N802
        number = PHONES[body["DetailList"][0]["PhoneNumber"]]
        request.applied = True
        fates = self.scenario.fates.get(number)
        fate = fates.pop(0) if fates else Fate("approved", 0.5, told=True, with_apply_id=True, listed_after=0.0)
        application = Application(number, 4_000 + len(self.applications), request.command, fate)
        self.applications.append(application)
        if fate.verdict != "never":
            self.loop.call_world(self.loop.monotonic + 0.003 + fate.after, self._decide, application)
        return {"ApplyId": application.apply_id}

    def _decide(self, application: Application) -> None:
        fate = application.fate
        application.verdict = fate.verdict
        if fate.verdict == "approved":
            resource = f"number:acme_cn/{application.number}"
            since = self.loop.monotonic + fate.listed_after
            self.past.setdefault(resource, []).append(Version(since, {"URL": None}))
        if fate.told:
            self.tell(application.number, fate.verdict, application.apply_id if fate.with_apply_id else None)

    def _DescribeNumbers(self, request: Request, body: Any) -> Any:  # noqa: N802
        live = [n for n in STORED if self._seen(f"number:acme_cn/{n}") is not None]
        return {"TotalCount": len(live), "Numbers": [{"Number": STORED[n], "State": 1} for n in live]}

    def _BindNumberCallInInterface(self, request: Request, body: Any) -> Any:  # noqa: N802
        self._put(request, {"URL": body["CallInInterface"]["URL"]})
        return {}

    # ------------------------------------------------------------------ routes

    def _createCalledRoute(self, request: Request, body: Any) -> Any:  # noqa: N802
        if self.now(str(request.resource)) is not None:
            return self._exists(request)
        state = {
            "id": f"9{body['accessCode']}",
            "accessCode": body["accessCode"],
            "devicetype": body["devicetype"],
            "deviceId": body["deviceId"],
            "mediatypeId": body["mediaTypeId"],
        }
        self._put(request, state)
        return {}

    def _modifyCalledRoute(self, request: Request, body: Any) -> Any:  # noqa: N802
        state = self.now(str(request.resource))
        if state is None:
            return EXISTS
        self._put(request, {**state, "devicetype": body["devicetype"], "deviceId": body["deviceId"]})
        return {}

    def _queryCalledRoute(self, request: Request, body: Any) -> Any:  # noqa: N802
        row = self._seen(f"route:acme_hw/{body['accessCode']}/")
        return {"data": {"total": 0 if row is None else 1, "calledRouteList": [] if row is None else [row]}}


def resource_of(call: Call) -> str | None:
    """What a call is about, as the ledger names resources; None for a read."""
    body: Any = call.body
    match call.operation.partition(".")[2]:
        case "CreateExtension" | "ModifyExtension":
            return f"extension:acme_cn/{body['ExtensionId']}"
        case "CreateOwnNumberApply":
            return f"number:acme_cn/{PHONES[body['DetailList'][0]['PhoneNumber']]}"
        case "BindNumberCallInInterface":
            return f"number:acme_cn/{PHONES[body['Number']]}"
        case "createCalledRoute":
            return f"route:acme_hw/{body['accessCode']}/"
        case "modifyCalledRoute":
            return f"route:acme_hw/{str(body['id'])[1:]}/"
        case _:
            return None


def stands_as_wanted(wanted: State, state: State | None, resource: str) -> bool:
    """True if what stands has every field that was wanted."""
    if state is None:
        return False
    if resource.startswith("extension:"):
        email = wanted.get("email")
        return wanted["name"] == state["ExtensionName"] and email in {None, state["Relation"]}
    if resource.startswith("number:"):
        return wanted.get("callback_url") in {None, state["URL"]}
    device = (DEVICE_TYPES[wanted["device_type"]], wanted["device_id"])
    return device == (state["devicetype"], state["deviceId"])
