"""Callback URLs: no spelling leads a vendor to what is private, and no word of a URL is repeated."""

import ipaddress
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.callback_url import METADATA_HOSTS, PRIVATE_NAMES, objection

HTTPS, USER, NO_URL = "must begin with https", "user or password", "is no URL"
PRIVATE, DISGUISE, NO_MACHINE, KEYS = "is private", "in disguise", "no address of a machine", "cloud's keys"


def wide(text: str) -> str:
    """As full-width characters, which readers take for the plain ones."""
    return "".join(chr(ord(char) + 0xFEE0) if char.isalnum() else char for char in text)


GOOD = [
    "https://calls.acme.example/in",
    "https://calls.acme.example:8443/in?key=a%20b&u=x@y#part",
    "https://CALLS.acme.example./in",
    "https://bücher.example/",
    "https://xn--bcher-kva.example/",
    "https://local.acme.example/",
    "https://internal-calls.acme.example/",
    "https://8.8.8.8/in",
    "https://8.8.8.8:8443",
    "https://[2606:4700:4700::1111]:443/in",
]
BAD = {
    "http://calls.acme.example/in": HTTPS,
    "HTTPS://calls.acme.example/in": HTTPS,
    "ftp://calls.acme.example": HTTPS,
    "//calls.acme.example": HTTPS,
    "": HTTPS,
    "https://user@calls.acme.example": USER,
    "https://user:FAKE-word@calls.acme.example": USER,
    "https://calls.acme.example\\@10.0.0.1/": USER,
    "https://": NO_URL,
    "https:///calls.acme.example": NO_URL,
    "https://?": NO_URL,
    "https://calls acme.example": NO_URL,
    "https://calls.acme.example/a b": NO_URL,
    "https://calls.acme.example/\tb": NO_URL,
    "https://calls.acme.example\\x": NO_URL,
    "https://%6cocalhost/": NO_URL,
    "https://calls..example/": NO_URL,
    "https://calls.acme.example:0/": NO_URL,
    "https://calls.acme.example:99999/": NO_URL,
    "https://calls.acme.example:https/": NO_URL,
    "https://[::1": NO_URL,
    "https://[fe80::1%25eth0]/": NO_URL,
    "https://1.2.3.4.5/": NO_URL,
    "https://256.1.1.1/": NO_URL,
    "https://localhost/": PRIVATE,
    "https://localhost./": PRIVATE,
    "https://LocalHost:8443/": PRIVATE,
    "https://a.b.localhost/": PRIVATE,
    "https://printer.local/": PRIVATE,
    "https://printer。local/": PRIVATE,
    f"https://{wide('localhost')}/": PRIVATE,
    "https://local\u200bhost/": PRIVATE,
    "https://loc\u00adalhost/": PRIVATE,
    "https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/": PRIVATE,
    "https://vault.internal/": PRIVATE,
    "https://api.cordboard.svc.cluster.local/": PRIVATE,
    "https://router.home.arpa/": PRIVATE,
    "https://kubernetes.default.svc/": PRIVATE,
    "https://crm/": PRIVATE,
    "https://crm./": PRIVATE,
    "https://10.1.2.3/": PRIVATE,
    "https://172.16.0.1/": PRIVATE,
    "https://192.168.1.1:8443/": PRIVATE,
    "https://127.0.0.1/": PRIVATE,
    "https://127.255.255.254/": PRIVATE,
    "https://169.254.1.1/": PRIVATE,
    "https://100.64.0.1/": PRIVATE,
    "https://192.0.2.1/": PRIVATE,
    "https://198.18.0.1/": PRIVATE,
    "https://0.1.2.3/": PRIVATE,
    "https://[::1]/": PRIVATE,
    "https://[fe80::1]/": PRIVATE,
    "https://[fd12:3456::1]/": PRIVATE,
    "https://[fec0::1]/": PRIVATE,
    "https://[2001:db8::1]/": PRIVATE,
    "https://0x7f000001/": DISGUISE,
    "https://0x7f.1/": DISGUISE,
    "https://2130706433/": DISGUISE,
    "https://017700000001/": DISGUISE,
    "https://0177.0.0.1/": DISGUISE,
    "https://127.1/": DISGUISE,
    "https://127.0.0.1./": DISGUISE,
    "https://127.0.0.01/": DISGUISE,
    f"https://{wide('127.0.0.1')}/": DISGUISE,
    "https://127。0。0。1/": DISGUISE,
    "https://0x08080808/": DISGUISE,
    "https://[::ffff:127.0.0.1]/": DISGUISE,
    "https://[::ffff:7f00:1]/": DISGUISE,
    "https://[::ffff:8.8.8.8]/": DISGUISE,
    "https://[::127.0.0.1]/": DISGUISE,
    "https://[64:ff9b::a9fe:a9fe]/": DISGUISE,
    "https://[2002:7f00:1::]/": DISGUISE,
    "https://[2001:0:7f00:1::]/": DISGUISE,
    "https://0.0.0.0/": NO_MACHINE,
    "https://224.0.0.1/": NO_MACHINE,
    "https://240.0.0.1/": NO_MACHINE,
    "https://255.255.255.255/": NO_MACHINE,
    "https://[::]/": NO_MACHINE,
    "https://[ff02::1]/": NO_MACHINE,
    "https://169.254.169.254/latest/": KEYS,
    "https://100.100.100.200/": KEYS,
    "https://[fd00:ec2::254]/": KEYS,
    "https://metadata.google.internal./": KEYS,
    "https://METADATA.tencentyun.com/": KEYS,
}
ALLOWED = {url for url, reason in BAD.items() if reason == PRIVATE}


@pytest.mark.parametrize("url", GOOD)
def test_public_https_urls_may_be_asked(url: str) -> None:
    assert objection(url) is None


@pytest.mark.parametrize("url", BAD)
def test_every_other_url_is_refused_with_the_reason(url: str) -> None:
    assert BAD[url] in (objection(url) or "")


@pytest.mark.parametrize("url", BAD)
def test_what_a_setting_allows_is_private_hosts_and_nothing_else(url: str) -> None:
    found = objection(url, allow_private=True)
    assert (found is None) == (url in ALLOWED), found


@pytest.mark.parametrize("url", BAD)
def test_objections_repeat_nothing_of_the_url(url: str) -> None:
    words = {word for word in url.replace("/", ".").replace(":", ".").split(".") if len(word) > 5} - {"https"}
    assert not [word for word in words if word in (objection(url) or "")]


_V4 = st.ip_addresses(v=4)
_SPELLINGS = st.sampled_from(
    [
        lambda a: str(int(a)),
        lambda a: hex(int(a)),
        lambda a: f"0{int(a):o}",
        lambda a: ".".join(hex(part) for part in a.packed),
        lambda a: ".".join(f"0{part:o}" for part in a.packed),
        lambda a: f"{a.packed[0]}.{int(a) & 0xFFFFFF}",
        lambda a: f"{a}.",
        lambda a: wide(str(a)),
        lambda a: f"[::ffff:{a}]",
        lambda a: f"[::ffff:0:{a}]",
        lambda a: f"[64:ff9b::{a}]",
        lambda a: f"[2002:{int(a) >> 16:x}:{int(a) & 0xFFFF:x}::]",
    ]
)


@given(address=_V4, spell=_SPELLINGS, allow=st.booleans())
def test_no_disguise_of_an_address_is_taken(address: ipaddress.IPv4Address, spell: object, allow: bool) -> None:
    assert callable(spell)
    assert objection(f"https://{spell(address)}/in", allow_private=allow) is not None


@given(address=st.ip_addresses())
def test_an_address_may_be_asked_only_if_it_is_global(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    host = f"[{address}]" if address.version == 6 else str(address)
    if objection(f"https://{host}/") is None:
        assert address.is_global
        assert not address.is_multicast


_LABEL = st.text(string.ascii_letters + string.digits, min_size=1, max_size=8)


@given(labels=st.lists(_LABEL, max_size=3), name=st.sampled_from(sorted(PRIVATE_NAMES)), end=st.sampled_from(["", "."]))
def test_no_name_below_a_private_one_may_be_asked(labels: list[str], name: str, end: str) -> None:
    assert objection(f"https://{'.'.join([*labels, name]).upper()}{end}/") is not None


@pytest.mark.parametrize("host", sorted(METADATA_HOSTS))
def test_metadata_hosts_are_never_allowed(host: str) -> None:
    written = f"[{host}]" if ":" in host else host
    assert objection(f"https://{written}/", allow_private=True) == "its host hands out a cloud's keys"


@given(url=st.text(max_size=60) | st.text(max_size=60).map("https://".__add__), allow=st.booleans())
def test_any_text_is_judged(url: str, allow: bool) -> None:
    found = objection(url, allow_private=allow)
    assert found is None or len(found) < 100
