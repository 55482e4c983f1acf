"""The sections of the settings, each a frozen model: type, default, meaning."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from importlib.util import find_spec
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from service.adapters.kafka_connection import KafkaConnection, Mechanism, SecurityProtocol
from service.adapters.kafka_tls import TlsFiles
from service.adapters.kafka_tokens import ClientCredentials, FetchedTokens, GivenTokens, Tokens
from service.domain.quota import MARGIN
from service.domain.retry import RetryRule
from service.vendors.descriptor import ignore_secret
from service.vendors.wire_settings import CaFile, FilePath, HttpsUrl, SecretFile, is_loopback, value_or_file


class Section(BaseModel):
    """One section; exact about its names."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)


class KafkaTokenSettings(Section):
    """Where SASL OAUTHBEARER's tokens come from: a file that somebody else renews, or a token endpoint."""

    token_file: SecretFile | None = Field(
        default=None, description="file with the token, such as one that a sidecar or the kubelet renews"
    )
    url: HttpsUrl | None = Field(
        default=None, description="else the token endpoint, asked for client credentials; https, http on loopback only"
    )
    client_id: str | None = Field(default=None, min_length=1, description="with `url`")
    client_secret_file: SecretFile | None = Field(default=None, exclude=True, description="file with the secret")
    client_secret: SecretStr | None = Field(default=None, validate_default=True, description="the client's secret")
    scope: str | None = Field(default=None, min_length=1, description="asked for with `url`")
    ca_file: CaFile | None = Field(
        default=None, description="PEM file of the authorities trusted for `url`; else the system's"
    )

    @field_validator("client_secret")
    @classmethod
    def _value_or_file(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        return value_or_file(value, info)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.token_file is None) == (self.url is None):
            raise ValueError("needs token_file or url, not both")
        if self.url is not None and (self.client_id is None or self.client_secret is None):
            raise ValueError("url needs client_id and client_secret (or client_secret_file)")
        return self

    def tokens(self, on_secret: Callable[[str], None]) -> Tokens:
        """As the connection takes them; `on_secret` is told every token that is fetched."""
        if self.token_file is not None:
            return GivenTokens(self.token_file)
        assert self.url is not None  # noqa: S101 - see `_fits_together`
        assert self.client_id is not None  # noqa: S101
        assert self.client_secret is not None  # noqa: S101
        credentials = ClientCredentials(
            url=self.url,
            client_id=self.client_id,
            client_secret=self.client_secret,
            scope=self.scope,
            ca_file=self.ca_file,
        )
        return FetchedTokens(credentials, on_secret)


class KafkaSecuritySettings(Section):
    """How brokers are spoken to."""

    protocol: SecurityProtocol = Field(default="PLAINTEXT", description="as the brokers' listener")
    mechanism: Mechanism = Field(default="PLAIN", description="with SASL")
    username: str | None = Field(default=None, min_length=1, description="with SASL, but for OAUTHBEARER")
    password_file: SecretFile | None = Field(default=None, exclude=True, description="file with the SASL password")
    password: SecretStr | None = Field(default=None, validate_default=True, description="the SASL password")
    oauth: KafkaTokenSettings | None = Field(default=None, description="where OAUTHBEARER's tokens come from")
    ca_file: CaFile | None = Field(default=None, description="PEM file of the authorities trusted; else the system's")
    cert_file: FilePath | None = Field(default=None, description="PEM file of the client's certificate")
    key_file: FilePath | None = Field(default=None, description="PEM file of the client's private key")

    @field_validator("password")
    @classmethod
    def _value_or_file(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        return value_or_file(value, info)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.protocol.startswith("SASL") and self.mechanism == "OAUTHBEARER":
            if self.oauth is None:
                raise ValueError(f"{self.protocol} with OAUTHBEARER needs oauth")
        elif self.protocol.startswith("SASL") and (self.username is None or self.password is None):
            raise ValueError(f"{self.protocol} needs username and password (or password_file)")
        if self.oauth is not None and self.mechanism != "OAUTHBEARER":
            raise ValueError("oauth is for mechanism: OAUTHBEARER")
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("key_file needs cert_file")
        if self.cert_file is not None:
            self._certificate_can_be_used()
        return self

    def _certificate_can_be_used(self) -> None:
        try:
            self.tls().context()
        except OSError:  # an SSLError is one
            raise ValueError(
                "cert_file and key_file hold no certificate in PEM with its key, without password"
            ) from None

    def tls(self) -> TlsFiles:
        """The files that TLS is spoken with."""
        return TlsFiles(ca_file=self.ca_file, cert_file=self.cert_file, key_file=self.key_file)


class KafkaSettings(Section):
    """Where events come from and results go."""

    bootstrap_servers: str = Field(
        default="127.0.0.1:9092",
        pattern=r"^[^\s,:@/]+:\d+(,[^\s,:@/]+:\d+)*$",
        description="host:port, comma-separated",
    )
    group_id: str = Field(default="cordboard", min_length=1, max_length=249, description="the consumer group")
    topics: tuple[str, ...] = Field(
        default=("hr.events", "crm.events"), min_length=1, description="topics that are read"
    )
    group_instance_id: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._-]{1,249}$",
        description="a name that is stable per pod, e.g. the StatefulSet pod name, unique in the group: a restart "
        "under it moves no partitions, and with PostgreSQL takes back at once what it had begun",
    )
    session_timeout_ms: int = Field(
        default=10_000,
        ge=1_000,
        description="a member silent for longer is taken as gone; with `group_instance_id` longer than a restart",
    )
    max_poll_interval_ms: int = Field(
        default=300_000,
        ge=1_000,
        description="a member whose process hangs for longer leaves; a slow ledger is no hang",
    )
    max_poll_records: int = Field(default=500, ge=1, le=10_000, description="most records of one batch")
    max_partition_fetch_bytes: int = Field(
        default=1_048_576, ge=1_024, description="fetched ahead of each partition; memory holds up to twice as much"
    )
    security: KafkaSecuritySettings = Field(default=KafkaSecuritySettings(), description="how brokers are spoken to")

    def connection(self, on_secret: Callable[[str], None] = ignore_secret) -> KafkaConnection:
        """How the brokers are reached; `on_secret` is told every token that is fetched on the way."""
        security = self.security
        return KafkaConnection(
            bootstrap_servers=self.bootstrap_servers,
            protocol=security.protocol,
            mechanism=security.mechanism,
            username=security.username,
            password=security.password,
            tokens=None if security.oauth is None else security.oauth.tokens(on_secret),
            tls=security.tls(),
        )


class Role(StrEnum):
    """What who holds a token may do: look, or look and act."""

    VIEWER = "viewer"
    OPERATOR = "operator"


HOLDER_PATTERN: Final = r"^[a-z][a-z0-9_.-]{0,63}$"
SHA256_PATTERN: Final = "^[0-9a-f]{64}$"
TAKEN_NAMES: Final = ("cordboard", "local")
"""Actors that no token may pass for: the service itself, and whoever asks where no token is needed."""

Holder = Annotated[str, StringConstraints(pattern=HOLDER_PATTERN)]


class TokenSettings(Section):
    """A token of the HTTP API: what it may do, and the hash that it is known by. The token itself stands nowhere.

    A token is 256 random bits. There is nothing to guess and no dictionary to try, so a plain SHA-256 hides it; the
    slow, salted hashes that passwords need would only make every request slow.
    """

    role: Role = Field(description="what it may do: `viewer` looks, `operator` also acts")
    sha256: str = Field(pattern=SHA256_PATTERN, description="SHA-256 of the token, as `cordboard token` prints it")


class HttpSettings(Section):
    """The HTTP API, with health and metrics."""

    tokens: dict[Holder, TokenSettings] = Field(
        default_factory=dict,
        description="who may ask, by a name that the record of operators' acts shows; with none, whoever is on this "
        "host is an operator",
    )
    host: str = Field(default="127.0.0.1", min_length=1, description="without tokens, a loopback address")
    port: int = Field(default=8080, ge=0, le=65_535, description="0: a free one")

    @field_validator("tokens")
    @classmethod
    def _each_of_its_own(cls, tokens: dict[str, TokenSettings]) -> dict[str, TokenSettings]:
        """An act's actor must be one holder, and never seem to be somebody else."""
        if any(name in TAKEN_NAMES for name in tokens):
            raise ValueError(f"{' and '.join(TAKEN_NAMES)} are names of Cordboard's own")
        if len({token.sha256 for token in tokens.values()}) < len(tokens):
            raise ValueError("two names have the same token")
        return tokens

    @field_validator("host")
    @classmethod
    def _open_to_nobody_else(cls, host: str, info: ValidationInfo) -> str:
        if info.data.get("tokens") == {} and not is_loopback(host):
            raise ValueError(
                "must be a loopback address while there are no http.tokens (`cordboard token` makes one): whoever "
                "reaches the HTTP API would be an operator"
            )
        return host


class TopicSettings(Section):
    """What a topic's events mean where they do not say it."""

    account: str | None = Field(default=None, description="account of events that name none")
    realm: str = Field(default="default", pattern=r"^[A-Za-z0-9._-]{1,64}$", description="whose agent ids these are")


class LimitsSettings(Section):
    """Sizes."""

    max_event_bytes: int = Field(default=1_048_576, ge=1_024, description="larger records are dead-lettered as digest")


class TimingSettings(Section):
    """Times in seconds."""

    approval_poll_seconds: float = Field(default=300.0, ge=1, description="between two looks for a number's approval")
    shutdown_seconds: float = Field(default=25.0, ge=1, le=600, description="for calls in flight after SIGTERM")
    connect_seconds: float = Field(default=5.0, gt=0, le=60, description="for a connection to a vendor")
    read_seconds: float = Field(default=30.0, gt=0, le=300, description="from there to the last byte of a reply")
    session_seconds: float = Field(
        default=15.0, ge=1, le=600, description="with PostgreSQL: silent for longer, and others take the work over"
    )
    read_lag_seconds: float = Field(default=5.0, ge=0, le=600, description="until a vendor's reads show what it did")


class ObjectiveSettings(Section):
    """What the service promises its owner; it is measured by, and alerts are made of it."""

    hired_to_ready_seconds: float = Field(
        default=300.0, gt=0, le=604_800, description="from a hire, or its effective date, until the extension is ready"
    )


class RetrySettings(Section):
    """Exponential backoff with full jitter, for one class of failures; it ends by count or by age."""

    attempts: int = Field(default=15, ge=0, le=1000, description="retries of a command before it fails")
    age_seconds: float = Field(default=3600.0, ge=0, description="since its first attempt, after which it fails")
    base_seconds: float = Field(default=0.5, gt=0, le=60, description="bound of the first pause; it doubles")
    cap_seconds: float = Field(default=60.0, gt=0, le=3600, description="bound of every pause")

    def rule(self) -> RetryRule:
        """As the domain says it."""
        return RetryRule(base=self.base_seconds, cap=self.cap_seconds, attempts=self.attempts, age=self.age_seconds)


class RetriesSettings(Section):
    """What is tried again by itself: failures after which nothing can have been applied."""

    retryable: RetrySettings = Field(default=RetrySettings(), description="not reached, or a read without an answer")
    throttled: RetrySettings = Field(
        default=RetrySettings(attempts=60, age_seconds=21_600.0, base_seconds=1.0, cap_seconds=30.0),
        description="over the vendor's rate",
    )


class QuarantineSettings(Section):
    """When an account is left alone, and how often it is probed."""

    run: int = Field(default=20, ge=2, description="commands that fail in a row without any verdict of the vendor")
    probe_seconds: float = Field(default=5.0, gt=0, description="until the first probe; the pause doubles")
    longest_probe_seconds: float = Field(default=60.0, gt=0, description="bound of that pause")


class QuotaSettings(Section):
    """How exactly vendors' quotas are used."""

    margin: float = Field(
        default=MARGIN, gt=0, le=0.5, description="share of a quota left unused, against late arrivals"
    )
    lead_seconds: float = Field(default=0.2, gt=0, le=1, description="how long before its moment a slot is taken")


class BrakeSettings(Section):
    """When a topic is paused because too many of its records are bad; foreign types never count."""

    window: int = Field(default=200, ge=1, le=100_000, description="so many of a topic's last records are judged")
    least: int = Field(default=50, ge=1, description="fewer than these decide nothing; at most `window`")
    share: float = Field(
        default=0.3, ge=0, le=1, description="more bad ones than this share pause the topic; 1: never pause"
    )
    resume_seconds: float = Field(default=60.0, ge=1, description="after a pause, until a few records are tried")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.least > self.window:
            raise ValueError("least must not be more than window")
        return self


LONGEST_DAYS: Final = 36_525
"""A hundred years."""


class RetentionSettings(Section):
    """How long what is over is kept; work that is not finished stays however old it is."""

    finished_days: int = Field(
        default=90,
        ge=1,
        le=LONGEST_DAYS,
        description="finished work and its events, facts nobody waits for, messages that were published",
    )
    identity_days: int = Field(
        default=400,
        ge=1,
        le=LONGEST_DAYS,
        description="hashes by which an event that was erased is known again; at least `finished_days`, and no less "
        "than the topics keep their records, or none is erased",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.identity_days < self.finished_days:
            raise ValueError("identity_days must not be less than finished_days")
        return self


class WatchdogSettings(Section):
    """When `/livez` says that the process makes no progress; nothing that is away ever counts."""

    loop_seconds: float = Field(default=60.0, ge=45, description="since a loop began its last round")
    stalled_seconds: float = Field(
        default=120.0, ge=10, description="a partition stands still although records wait and the broker answers"
    )


def _is_importable(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a package that it would be in
        return False


def _collector(url: str) -> str:
    try:
        parts = urlsplit(url)
        fits = parts.scheme in {"http", "https"} and parts.hostname and "@" not in parts.netloc and not parts.query
    except ValueError:  # its message repeats the value
        fits = False
    if not fits:
        raise ValueError("must be http(s)://host:port, without user, password or query")
    return url.rstrip("/")


class TraceSettings(Section):
    """Traces, sent by OTLP over HTTP; they carry no personal data."""

    otlp_endpoint: Annotated[str, AfterValidator(_collector)] | None = Field(
        default=None,
        description="the collector, such as http://127.0.0.1:4318 (`/v1/traces` is added); unset: there are no traces. "
        "Needs the extra `traces`",
    )
    sample_ratio: float = Field(
        default=1.0, ge=0, le=1, description="share of the traces that begin here; else who began one decides"
    )

    @field_validator("otlp_endpoint")
    @classmethod
    def _is_installed(cls, endpoint: str | None) -> str | None:
        if endpoint is not None and not _is_importable("opentelemetry.exporter.otlp.proto.http"):
            raise ValueError("needs the extra `traces`: pip install 'cordboard[traces]'")
        return endpoint


class LogSettings(Section):
    """Log lines; of those that say the same over and over, ten a minute are written, and how many were left out."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="the least that is written")
    format: Literal["auto", "json", "pretty"] = Field(
        default="auto", description="one JSON object a line, or text for people; auto: text on a terminal, else JSON"
    )
