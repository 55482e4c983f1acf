"""Every setting: type, default, meaning. Read once from a YAML file and the environment; all faults told at once."""

from __future__ import annotations

import difflib
import math
import re
import stat
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import phonenumbers
from pydantic import (
    BaseModel,
    Field,
    SecretStr,
    SerializeAsAny,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    WrapValidator,
    field_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from service.adapters.configuration_sources import (
    Document,
    SettingsFault,
    overlay,
    read_environment,
    read_yaml,
    variable,
)
from service.domain.account import Account
from service.domain.brake import BrakePolicy
from service.domain.liveness import LivenessPolicy
from service.domain.outcome import ErrorClass
from service.domain.planning import PlanningPolicy, TopicDefaults
from service.domain.quarantine import QuarantinePolicy
from service.domain.retention import DAY, RetentionPolicy
from service.domain.settling import SettlingPolicy
from service.domain.taking_in import IntakePolicy
from service.settings_sections import (
    HOLDER_PATTERN,
    BrakeSettings,
    HttpSettings,
    KafkaSecuritySettings,
    KafkaSettings,
    KafkaTokenSettings,
    LimitsSettings,
    LogSettings,
    ObjectiveSettings,
    QuarantineSettings,
    QuotaSettings,
    RetentionSettings,
    RetriesSettings,
    TimingSettings,
    TopicSettings,
    TraceSettings,
    WatchdogSettings,
)
from service.vendors.descriptor import Vendor
from service.vendors.file_secret import FileSecret
from service.vendors.http_exchange import ExchangeLimits
from service.vendors.registry import VENDORS
from service.vendors.wire_settings import KEY_IDS, SecretFile, value_or_file

__all__ = ["Faults", "Settings", "SettingsFault", "load_settings", "secret_names", "section_model"]

SQLITE: Final = "sqlite:///"
POSTGRES: Final = ("postgresql://", "postgres://")
TOKENS: Final = ("http", "tokens")


def _fault_at(field: str, message: str) -> ValidationError:
    error = PydanticCustomError("setting", "{message}", {"message": message})
    return ValidationError.from_exception_data("setting", [InitErrorDetails(type=error, loc=(field,), input=None)])


def _without_password(url: str) -> str:
    """PostgreSQL's address; the messages never repeat it."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("not a URL") from None
    if parts.password is not None or "password" in parse_qs(parts.query):
        raise ValueError("must not carry a password: set CORDBOARD_LEDGER_PASSWORD, or ledger_password_file")
    if not parts.path.strip("/") or port == 0:
        raise ValueError("must be postgresql://user@host:port/database")
    return url


def _vendor(account: Document) -> Vendor | None:
    """Whose account it says it is; None for what names no vendor."""
    name = account.get("vendor")
    return VENDORS.get(name) if isinstance(name, str) else None


def _by_vendor(value: object, _: object) -> Account:
    """Validate an account with the model of its vendor's room."""
    if isinstance(value, Account):
        return value
    if not isinstance(value, dict):
        raise ValueError("must be a mapping of settings")  # noqa: TRY004 - what pydantic turns into a fault
    vendor = _vendor(value)
    if vendor is None:
        raise _fault_at("vendor", f"is needed: one of {', '.join(VENDORS)}")
    return vendor.account_model.model_validate(value)


AccountName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
AnyAccount = Annotated[SerializeAsAny[Account], WrapValidator(_by_vendor)]


class Settings(BaseSettings):
    """All settings of one process. Made by `load_settings`; making one reads nothing from anywhere."""

    model_config = SettingsConfigDict(
        env_prefix="CORDBOARD_", env_nested_delimiter="__", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    kafka: KafkaSettings = Field(default=KafkaSettings(), description="where events come from and results go")
    ledger: str = Field(
        default="sqlite:///cordboard.db",
        description="the ledger: sqlite:///path, from the working folder, for one process; for more "
        "postgresql://user@host:port/database, with libpq's parameters such as ?sslmode=verify-full",
    )
    ledger_password_file: SecretFile | None = Field(default=None, exclude=True, description="file with it")
    ledger_password: SecretStr | None = Field(
        default=None, validate_default=True, description="the password of PostgreSQL's user"
    )
    http: HttpSettings = Field(default=HttpSettings(), description="the HTTP API, with health and metrics")
    defaults: dict[str, TopicSettings] = Field(default_factory=dict, description="by topic: what its events leave out")
    accounts: dict[AccountName, AnyAccount] = Field(default_factory=dict, description="vendor accounts by name")
    limits: LimitsSettings = Field(default=LimitsSettings(), description="sizes")
    objectives: ObjectiveSettings = Field(default=ObjectiveSettings(), description="what is promised, and measured by")
    timing: TimingSettings = Field(default=TimingSettings(), description="times in seconds")
    retries: RetriesSettings = Field(default=RetriesSettings(), description="what is tried again by itself")
    quarantine: QuarantineSettings = Field(default=QuarantineSettings(), description="when an account is left alone")
    quota: QuotaSettings = Field(default=QuotaSettings(), description="how exactly vendors' quotas are used")
    brake: BrakeSettings = Field(default=BrakeSettings(), description="when a topic's bad records pause it")
    retention: RetentionSettings = Field(default=RetentionSettings(), description="how long what is over is kept")
    watchdog: WatchdogSettings = Field(default=WatchdogSettings(), description="when `/livez` fails")
    traces: TraceSettings = Field(default=TraceSettings(), description="spans, for whom one slow event matters")
    log: LogSettings = Field(default=LogSettings(), description="log lines")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - as the base class
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """`load_settings` has read the sources, to tell every fault of theirs."""
        return (init_settings,)

    @field_validator("ledger")
    @classmethod
    def _is_known(cls, ledger: str) -> str:
        if ledger.startswith(POSTGRES):
            return _without_password(ledger)
        path = ledger.removeprefix(SQLITE)
        if not ledger.startswith(SQLITE) or not path or path.startswith(":") or path.endswith("/"):
            raise ValueError("must be sqlite:///path of a file, or postgresql://user@host/database")
        return ledger

    @field_validator("ledger_password")
    @classmethod
    def _password_from_value_or_file(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        return value_or_file(value, info)

    @field_validator("accounts", mode="before")
    @classmethod
    def _name_by_key(cls, accounts: object) -> object:
        if not isinstance(accounts, dict):
            return accounts
        return {k: {**v, "name": k} if isinstance(v, dict) else v for k, v in accounts.items()}

    @property
    def is_shared(self) -> bool:
        """Whether several processes may use the ledger at once."""
        return self.ledger.startswith(POSTGRES)

    @property
    def ledger_path(self) -> Path:
        """The SQLite file."""
        return Path(self.ledger.removeprefix(SQLITE))

    @property
    def session_seconds(self) -> float:
        """How long a process may be silent before another takes its work over; a file has but one."""
        return self.timing.session_seconds if self.is_shared else math.inf

    def planning_policy(self) -> PlanningPolicy:
        """What planning decides by."""
        defaults = {t: TopicDefaults(account=d.account, realm=d.realm) for t, d in self.defaults.items()}
        return PlanningPolicy(accounts=dict(self.accounts), defaults=defaults)

    def settling_policy(self) -> SettlingPolicy:
        """What settling decides by."""
        timing, sick = self.timing, self.quarantine
        return SettlingPolicy(
            approval_poll_seconds=timing.approval_poll_seconds,
            read_lag_seconds=timing.read_lag_seconds,
            hired_to_ready_seconds=self.objectives.hired_to_ready_seconds,
            absent_gap_seconds=timing.connect_seconds + timing.read_seconds + timing.read_lag_seconds,
            quarantine=QuarantinePolicy(
                run=sick.run, probe_seconds=sick.probe_seconds, longest_probe_seconds=sick.longest_probe_seconds
            ),
            retries={
                ErrorClass.RETRYABLE: self.retries.retryable.rule(),
                ErrorClass.AMBIGUOUS: self.retries.retryable.rule(),
                ErrorClass.THROTTLED: self.retries.throttled.rule(),
            },
        )

    def intake_policy(self) -> IntakePolicy:
        """What intake decides by."""
        return IntakePolicy(
            planning=self.planning_policy(),
            settling=self.settling_policy(),
            max_event_bytes=self.limits.max_event_bytes,
        )

    def brake_policy(self) -> BrakePolicy:
        """When a topic's bad records pause it."""
        return BrakePolicy(**self.brake.model_dump())

    def retention_policy(self) -> RetentionPolicy:
        """When what is over is erased."""
        days = self.retention
        return RetentionPolicy(finished=days.finished_days * DAY, identity=days.identity_days * DAY)

    def liveness_policy(self) -> LivenessPolicy:
        """When the process counts as standing still."""
        return LivenessPolicy(**self.watchdog.model_dump())

    def exchange_limits(self) -> ExchangeLimits:
        """Patience with vendors."""
        return ExchangeLimits(connect_seconds=self.timing.connect_seconds, read_seconds=self.timing.read_seconds)

    def secrets(self) -> Iterator[tuple[str, SecretStr]]:
        """Every secret with the setting it stands in, to be hidden wherever it turns up."""
        yield from _secrets_in(self, ())


def _secrets_in(value: object, path: tuple[str, ...]) -> Iterator[tuple[str, SecretStr]]:
    match value:
        case SecretStr():
            yield _dotted(path), value
        case BaseModel():
            for name in type(value).model_fields:
                item = getattr(value, name)
                if not isinstance(item, FileSecret) or name.endswith("_file"):  # it stands in both, if in a file
                    yield from _secrets_in(item, (*path, name))
        case Mapping():
            for name, item in value.items():
                yield from _secrets_in(item, (*path, str(name)))


@dataclass(frozen=True, slots=True)
class Faults:
    """Everything that is wrong with a configuration, by path."""

    faults: tuple[SettingsFault, ...]

    def __iter__(self) -> Iterator[SettingsFault]:
        return iter(self.faults)


def load_settings(path: Path | None, environ: Mapping[str, str]) -> Settings | Faults:
    """Settings from a YAML file (None: no file) and `CORDBOARD_…` variables, which win; else all that is wrong."""
    file = {} if path is None else read_yaml(path)
    if isinstance(file, SettingsFault):
        return Faults((file,))
    given, faults = read_environment(Settings, environ)
    document = overlay(file, _as_spelt(given, file))
    faults += [*_secrets_in_file(file), *_across(document)]
    try:
        settings = Settings(**{key: value for key, value in document.items() if not key.startswith("_")})
    except ValidationError as error:
        every = error.errors(include_input=False, include_url=False)
        details = [detail for detail in every if detail["type"] != "default_factory_not_called"]  # follows from others
        return Faults(_in_order([*faults, *(_told(detail, document) for detail in details)]))
    return Faults(_in_order(faults)) if faults else settings


def _in_order(faults: Sequence[SettingsFault]) -> tuple[SettingsFault, ...]:
    """Sorted; a place that is named twice is told once."""
    return tuple({fault.path: fault for fault in sorted(faults, reverse=True)}.values())[::-1]


# --- what one model can't see: the file's secrets, other sections, the file system ------------------------------------


@cache
def secret_names() -> frozenset[str]:
    """Fields that come from the environment or a file of their own, never from the YAML file."""
    models: tuple[type[BaseModel], ...] = (
        Settings,
        KafkaSecuritySettings,
        KafkaTokenSettings,
        *(vendor.account_model for vendor in VENDORS.values()),
    )
    return frozenset(
        name
        for model in models
        for name in model.model_fields
        if f"{name}_file" in model.model_fields and name not in KEY_IDS
    )


def _leaves(document: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    if isinstance(document, dict):
        for key, value in document.items():
            yield from _leaves(value, (*path, str(key)))
    else:
        yield path, document


def _secrets_in_file(file: Document) -> Iterator[SettingsFault]:
    for path, value in _leaves(file):
        if path[-1].lower() in secret_names() and value is not None and path[:2] != TOKENS:  # told as unknown there
            instead = f"set {variable(*path)}, or name a file in {path[-1]}_file"
            yield SettingsFault(_dotted(path), f"a secret may not stand in this file: {instead}")


def _part(document: Document, *path: str) -> Document:
    """A section as far as it is one; whoever validates says so where it is none."""
    for name in path:
        found = document.get(name)
        document = found if isinstance(found, dict) else {}
    return document


def _topics_read(document: Document) -> Sequence[str]:
    topics = _part(document, "kafka").get("topics")
    return [str(topic) for topic in topics] if isinstance(topics, list) else KafkaSettings().topics


def _across(document: Document) -> Iterator[SettingsFault]:
    yield from (SettingsFault(_dotted((key,)), "no such setting") for key in document if key.startswith("_"))
    yield from _open_secret_files(document)
    yield from _topic_defaults(document)
    for name in _part(document, "accounts"):
        yield from _account(name, _part(document, "accounts", name))


def _open_secret_files(document: Document) -> Iterator[SettingsFault]:
    for path, value in _leaves(document):
        secret = path[-1] == "key_file" or path[-1].removesuffix("_file") in secret_names()
        if secret and path[-1].endswith("_file") and isinstance(value, str) and open_to_all(value):
            yield SettingsFault(_dotted(path), "the file can be read by everybody: take others' rights away (chmod o=)")


def open_to_all(path: str) -> bool:
    """Whether everybody on this machine can read the file; False for one that is not there."""
    try:
        return bool(Path(path).stat().st_mode & stat.S_IROTH)
    except (OSError, ValueError):
        return False  # the field itself says that it can't be read


def _topic_defaults(document: Document) -> Iterator[SettingsFault]:
    read, accounts = _topics_read(document), _part(document, "accounts")
    for topic in _part(document, "defaults"):
        if topic not in read:
            yield SettingsFault(_dotted(("defaults", topic)), f"no such topic is read{_meant(topic, read)}")
        account = _part(document, "defaults", topic).get("account")
        if isinstance(account, str) and account not in accounts:
            message = f"no such account is configured{_meant(account, accounts)}"
            yield SettingsFault(_dotted(("defaults", topic, "account")), message)


def _account(name: str, account: Document) -> Iterator[SettingsFault]:
    zone, country, quotas = account.get("time_zone"), account.get("country"), account.get("quotas")
    if isinstance(zone, str) and not _is_zone(zone):
        yield SettingsFault(_dotted(("accounts", name, "time_zone")), "must be an IANA time zone, as Asia/Shanghai")
    if isinstance(country, str) and re.fullmatch("[A-Z]{2}", country) and country not in phonenumbers.SUPPORTED_REGIONS:
        yield SettingsFault(_dotted(("accounts", name, "country")), "is no country with a numbering plan (ISO 3166)")
    if isinstance(key := _part(account, "credentials").get("public_key_file"), str):
        yield from _public_key(name, key)
    vendor = _vendor(account)
    calls = [] if vendor is None else [*(call.rpartition(".")[2] for call in vendor.calls), "default"]
    for operation in quotas if vendor is not None and isinstance(quotas, dict) else ():
        if operation not in calls:
            message = f"the vendor has no such operation{_meant(operation, calls)}"
            yield SettingsFault(_dotted(("accounts", name, "quotas", operation)), message)


def _public_key(account: str, path: str) -> Iterator[SettingsFault]:
    from service.adapters.credentials_sealed import read_public_key  # noqa: PLC0415 - not free to load

    try:
        read_public_key(path)
    except ValueError as fault:
        yield SettingsFault(_dotted(("accounts", account, "credentials", "public_key_file")), str(fault))


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _as_spelt(given: Document, file: Document) -> Document:
    """Variables know no dots and no capitals: give topics and operations their own spelling back."""
    spelt = dict(given)
    if _part(given, "defaults"):
        topics = _topics_read(given if "topics" in _part(given, "kafka") else file)
        spelt["defaults"] = _respelt(_part(given, "defaults"), topics)
    calls = [call.rpartition(".")[2] for vendor in VENDORS.values() for call in vendor.calls]
    for name, account in _part(given, "accounts").items():
        if quotas := _part(given, "accounts", name, "quotas"):
            spelt["accounts"] = {**spelt["accounts"], name: {**account, "quotas": _respelt(quotas, calls)}}
    return spelt


def _respelt(document: Document, names: Sequence[str]) -> Document:
    spelling = {re.sub(r"[.-]", "_", name).lower(): name for name in names}
    return {spelling.get(key.lower(), key): value for key, value in document.items()}


# --- saying it --------------------------------------------------------------------------------------------------------


def _told(detail: ErrorDetails, document: Document) -> SettingsFault:
    """A fault of pydantic's in a sentence; its own messages repeat no value once those here are replaced."""
    location = tuple(str(part) for part in detail["loc"] if part != "[key]")
    path = _dotted(location)
    match detail["type"]:
        case "extra_forbidden":
            known = _known_names(location[:-1], document)
            return SettingsFault(path, f"no such setting{_meant(location[-1], known)}")
        case "missing":
            return SettingsFault(path, "is needed")
        case "string_pattern_mismatch" if (form := _form(location)) is not None:
            return SettingsFault(path, form)
        case "string_type":
            return SettingsFault(path, "must be text (YAML reads bare numbers, yes and no as something else: quote it)")
    message = detail["msg"].removeprefix("Value error, ").replace("Input should be", "must be").partition(", unable")[0]
    message = re.sub(r"^(String|Value|Tuple|List) should", "must", message)
    if message.endswith("_file is needed"):
        message += f" (or the variable {variable(*location)})"
    return SettingsFault(path, message)


def _form(location: tuple[str, ...]) -> str | None:
    """What a text must look like, where its pattern alone would not say it well."""
    match location:
        case ("accounts", _):
            return "an account's name is lower-case letters, digits and _, a letter first"
        case ("http", "tokens", _):
            return "a token's name is lower-case letters, digits, _ . and -, a letter first, 64 at most"
        case (*_, "sha256"):
            return "must be 64 digits of 0-9 and a-f, as `cordboard token` prints them"
        case (*_, "bootstrap_servers"):
            return "must be host:port, several separated by commas"
    return None


def _dotted(path: Sequence[str]) -> str:
    """A path as it is shown: a key that was pasted in by mistake is cut to what keys look like, a token to nothing."""
    if tuple(path[:2]) == TOKENS and len(path) > 2 and not re.fullmatch(HOLDER_PATTERN, path[2]):
        path = (*TOKENS, "?", *path[3:])
    return ".".join(re.sub(r"[^\w.:-]", "?", part)[:64] for part in path) or "(file)"


def _meant(wrong: str, known: object) -> str:
    near = difflib.get_close_matches(
        wrong, [str(name) for name in typing.cast("Sequence[str]", known)], n=1, cutoff=0.5
    )
    return f"; did you mean `{near[0]}`?" if near else ""


def _known_names(path: tuple[str, ...], document: Document) -> Sequence[str]:
    """The names that a section knows."""
    model: type[BaseModel] | None = Settings
    for depth, part in enumerate(path):
        if path[0] == "accounts" and depth == 1:
            vendor = _vendor(_part(document, "accounts", part))
            model = None if vendor is None else vendor.account_model
        elif path[0] == "defaults" and depth == 1:
            model = TopicSettings
        elif model is not None and not (depth == 0 and part in {"accounts", "defaults"}):
            model = section_model(model.model_fields[part].annotation) if part in model.model_fields else None
    return [] if model is None else list(model.model_fields)


def section_model(annotation: object) -> type[BaseModel] | None:
    """The model behind a field's annotation, if it is a section."""
    candidates = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
