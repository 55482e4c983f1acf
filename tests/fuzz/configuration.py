"""Parsers of configuration: the YAML file, the environment, files of secrets."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from hypothesis import strategies as st

from service.adapters.configuration_sources import variable
from service.adapters.credentials_sealed import read_public_key
from service.settings import Settings, load_settings
from tests.fuzz.material import CANARY, HOSTILE_TEXTS, Document, Splice, documents, mangled, raw, scalars, texts, values
from tests.fuzz.trial import Parser, Told

FILE: Final[Document] = {
    "kafka": {
        "bootstrap_servers": "127.0.0.1:9092",
        "topics": ["hr.events", "crm.events"],
        "security": {
            "protocol": "SASL_PLAINTEXT",
            "mechanism": "OAUTHBEARER",
            "oauth": {"url": "https://tokens.example.com/t", "client_id": "cordboard", "scope": "kafka"},
        },
    },
    "ledger": "postgresql://cordboard@db.example.com/cordboard?sslmode=verify-full",
    "http": {"host": "127.0.0.1", "port": 8080, "tokens": {"ann": {"role": "viewer", "sha256": "0" * 64}}},
    "defaults": {"hr.events": {"account": "acme_cn", "realm": "workday"}},
    "accounts": {
        "acme_cn": {
            "vendor": "tencent_ccc",
            "site": "cn",
            "base_url": "https://ccc.tencentcloudapi.com",
            "sdk_app_id": 1400000000,
            "country": "CN",
            "time_zone": "Asia/Shanghai",
            "owns": ["name"],
            "numbers": {"sip_trunk_id": 11, "call_type": "both", "callback_url": "https://pbx.example.com/in"},
            "credentials": {"mode": "none"},
            "quotas": {"CreateOwnNumberApply": 5, "default": 20},
            "quota_group": "cn",
        },
        "acme_hw": {"vendor": "huawei_aicc", "base_url": "https://aicc.example.com", "token_seconds": 600},
    },
    "limits": {"max_event_bytes": 2048},
    "objectives": {"hired_to_ready_seconds": 300},
    "timing": {"read_seconds": 30.5, "session_seconds": 15},
    "retries": {"retryable": {"attempts": 3, "age_seconds": 60}},
    "quarantine": {"run": 20},
    "quota": {"margin": 0.01},
    "brake": {"window": 200, "least": 50, "share": 0.3},
    "retention": {"finished_days": 90, "identity_days": 400},
    "watchdog": {"loop_seconds": 60},
    "traces": {"otlp_endpoint": "http://127.0.0.1:4318", "sample_ratio": 0.5},
    "log": {"level": "info"},
}
SECRETS: Final = {
    "CORDBOARD_ACCOUNTS__ACME_CN__SECRET_ID": CANARY,
    "CORDBOARD_ACCOUNTS__ACME_CN__SECRET_KEY": CANARY,
    "CORDBOARD_ACCOUNTS__ACME_HW__APP_KEY": CANARY,
    "CORDBOARD_ACCOUNTS__ACME_HW__APP_SECRET": CANARY,
    "CORDBOARD_LEDGER_PASSWORD": CANARY,
    "CORDBOARD_KAFKA__SECURITY__OAUTH__CLIENT_SECRET": CANARY,
}
YAML: Final = tuple(
    Splice(text)
    for text in (
        "&a [*a]",
        "&a {b: *a}",
        "*nothing",
        "{<<: {a: 1}}",
        "{<<: [1]}",
        "{? [a] : b}",
        "!!timestamp nonsense",
        "!!timestamp 2026-99-99",
        "2026-02-30",
        "!!int ''",
        "!!int abc",
        "!!float ''",
        "!!bool perhaps",
        "!!binary '???'",
        "!!set {a, b}",
        "!!omap [a: 1]",
        "!!pairs [a: 1]",
        "!!null x",
        "!!str [a]",
        "!!map [a]",
        "!!seq {a: 1}",
        "!!python/object/apply:os.system [id]",
        "!unknown x",
        "0o777",
        "1:30:59",
        ".nan",
        "-.inf",
        "1_000",
        "'it''s'",
        '"\\xZZ"',
        "{a: 1, a: 2}",
        "{1: 2}",
        "|",
        "@",
        "%TAG",
        "--- x",
    )
)


def _leaves(document: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(document, dict):
        for key, value in document.items():
            yield from _leaves(value, (*path, key))
    else:
        yield path


def _bomb(levels: int, width: int, *, merged: bool) -> bytes:
    """Aliases of aliases: a few lines that stand for `width` to the power of `levels` settings."""
    lines = ["a0: &a0 {x: 1}"]
    for level in range(1, levels + 1):
        inner = ", ".join([f"*a{level - 1}"] * width)
        members = ", ".join(f"k{number}: *a{level - 1}" for number in range(width))
        lines.append(f"a{level}: &a{level} " + (f"{{<<: [{inner}]}}" if merged else f"{{{members}}}"))
    return "\n".join(lines).encode()


# what is nested deeper takes the YAML reader a second until it gives up: too dear to be tried by the hundred
_not_too_deep = values.filter(lambda value: not isinstance(value, Splice) or len(value.text) < 1_000)
_yaml = st.one_of(st.sampled_from(YAML), scalars, _not_too_deep)
_files = st.one_of(
    documents(st.just(FILE), strange=_yaml),
    documents(st.just(FILE), strange=_yaml),
    st.builds(_bomb, st.integers(1, 12), st.integers(1, 12), merged=st.booleans()),
)


def _told(loaded: object) -> Told:
    """What the faults say; what is accepted must also be usable, and hide its secrets."""
    if isinstance(loaded, Settings):
        loaded.intake_policy()
        loaded.brake_policy()
        loaded.retention_policy()
        loaded.liveness_policy()
        loaded.exchange_limits()
        loaded.kafka.connection()
        for account in loaded.accounts.values():
            assert account.group()
            assert 0 < account.rate("CreateExtension") < float("inf")
        return None
    assert hasattr(loaded, "faults")
    return "\n".join([str(fault) for fault in loaded.faults] + [repr(loaded)])


@contextmanager
def _file() -> Iterator[Callable[[bytes], Told]]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "cordboard.yaml"

        def load(content: bytes) -> Told:
            path.write_bytes(content)
            return _told(load_settings(path, SECRETS))

        yield load


@contextmanager
def _environment() -> Iterator[Callable[[dict[str, str]], Told]]:
    yield lambda environ: _told(load_settings(None, environ))


@contextmanager
def _secret_file() -> Iterator[Callable[[bytes], Told]]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "secret"
        path.touch(mode=0o600)
        environ = {name: text for name, text in SECRETS.items() if name != "CORDBOARD_ACCOUNTS__ACME_CN__SECRET_KEY"}
        environ |= {
            "CORDBOARD_ACCOUNTS__ACME_CN__VENDOR": "tencent_ccc",
            "CORDBOARD_ACCOUNTS__ACME_CN__SDK_APP_ID": "1400000000",
            "CORDBOARD_ACCOUNTS__ACME_CN__SECRET_KEY_FILE": str(path),
            "CORDBOARD_ACCOUNTS__ACME_HW__VENDOR": "huawei_aicc",
            "CORDBOARD_ACCOUNTS__ACME_HW__BASE_URL": "https://aicc.example.com",
        }

        def load(content: bytes) -> Told:
            path.write_bytes(content)
            loaded = load_settings(None, environ)
            if isinstance(loaded, Settings):
                assert repr(loaded.accounts["acme_cn"]).count(CANARY) == 0
                return str(loaded.accounts)
            return _told(loaded)

        yield load


# keys of nobody: one that is taken, and two of kinds that are not
PUBLIC_KEYS: Final = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEiWZIAt1vcMsHJ4PrL6/Akt2hTXyl58kaoIwnNyZ71PKYIMoURdaee22HgsoWU8xCymfdMGtxYlcA4MeY+uW1ww==",
    "MCowBQYDK2VwAyEAH646gsoaxPqYJIT1rYIqlzZuZXeLaCsm6mpnRa0qVhg=",
    "MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAExGiplx4vMs8bjXru8IMKSblgh7XmVm0AexXEsgwEKXxVyj9RxO9QUsJHXhs0Z7eAj2u+ib+WyS2udzwGwsv2jw==",
)
JWK: Final[Document] = {
    "kty": "EC",
    "crv": "P-256",
    "x": "OHOl7n2vmNTVzY5SAxEe0_oM74hA3NbkIi7v-JlGE3U",
    "y": "tFjeJnvYr0sgU_SUSPZG02R7cFqiNxUMiUQgNV4HXXE",
    "kid": "phones",
    "use": "enc",
}
RSA: Final[Document] = {"kty": "RSA", "n": base64.urlsafe_b64encode(b"\xc5" * 256).decode().rstrip("="), "e": "AQAB"}


def _pem(der: bytes) -> bytes:
    return b"-----BEGIN PUBLIC KEY-----\n" + base64.encodebytes(der) + b"-----END PUBLIC KEY-----\n"


_ders = st.sampled_from(PUBLIC_KEYS).map(base64.b64decode)
_keys = st.one_of(
    documents(st.sampled_from((JWK, RSA))),
    mangled(_ders).map(_pem),
    mangled(_ders.map(_pem)),
)


@contextmanager
def _public_key() -> Iterator[Callable[[bytes], Told]]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "key"

        def read(content: bytes) -> Told:
            path.write_bytes(content)
            read_public_key(str(path))
            return None

        yield read


_NAMES: Final = (
    *(variable(*path) for path in _leaves(FILE)),
    *SECRETS,
    *(f"{name}_FILE" for name in SECRETS),
    *("CORDBOARD_KAFKA__SECURITY__CA_FILE", "CORDBOARD_KAFKA__SECURITY__OAUTH__TOKEN_FILE"),
    "CORDBOARD_ACCOUNTS__ACME_CN__CREDENTIALS__PUBLIC_KEY_FILE",
    *(
        "CORDBOARD_KAFKA__SECURITY__PASSWORD",
        "CORDBOARD_KAFKA__SECURITY__KEY_FILE",
        "CORDBOARD_KAFKA",
        "CORDBOARD_TOKEN",
    ),
    *("CORDBOARD_", "CORDBOARD___", "cordboard_Ledger", "CORDBOARD_ACCOUNTS__ACME_CN", "CORDBOARD_ACCOUNTS"),
)
_variables = st.one_of(
    st.sampled_from(_NAMES),
    st.sampled_from(_NAMES),
    st.tuples(st.sampled_from(_NAMES), st.sampled_from(("__A", "__", "_", "__A__B"))).map("".join),
    st.text(max_size=10).map(lambda name: f"CORDBOARD_{name}"),
)
_texts_of_variables = st.one_of(
    texts,
    st.sampled_from(HOSTILE_TEXTS),
    scalars.map(str),
    st.sampled_from(("{}", "[]", '{"a": {"b": 1}}', "[" * 300 + "]" * 300, "a,b", "9" * 5_000)),
    st.sampled_from(("tencent_ccc", '{"vendor": "tencent_ccc"}', "sqlite:///x.db", "postgresql://a@b/c", "SASL_SSL")),
    st.sampled_from(("operator", "https://a.example", "nan", "inf", "1e400", "-1", "0", "true", "/etc")),
)

PARSERS: Final[tuple[Parser[Any], ...]] = (
    # read once, at the start, by a YAML reader in plain Python
    Parser(name="settings, file", material=_files, opened=_file, seconds=2.0),
    Parser(
        name="settings, environment",
        material=st.dictionaries(_variables, _texts_of_variables, max_size=5),
        opened=_environment,
    ),
    Parser(
        name="settings, file of a secret",
        material=st.one_of(raw, texts.map(lambda text: text.encode("utf-8", "surrogatepass"))),
        opened=_secret_file,
    ),
    Parser(name="public key of a receiver", material=_keys, opened=_public_key, errors=(ValueError,)),
)
