"""Which addresses a provider may have, in whatever spelling."""

import socket
from types import SimpleNamespace

import pytest

from providers import addresses
from providers.addresses import BadAddress, check_address, check_resolved

PUBLIC = "93.184.216.34"
NAMES = {
    "api.example.com": [PUBLIC, "2606:2800:220:1:248:1893:25c8:1946"],
    "localhost": ["127.0.0.1", "::1"],
    "ollama": ["172.18.0.3"],
    "169.254.169.254.nip.example": ["169.254.169.254"],
    "10.0.0.1.nip.example": ["10.0.0.1"],
    "two-faced.example": [PUBLIC, "169.254.169.254"],
    "mapped.example": ["::ffff:169.254.169.254"],
    "zone.example": ["fe80::1%eth0"],
    "2852039166.example": [PUBLIC],
}


@pytest.fixture(autouse=True)
def resolver(monkeypatch, settings):
    """The outside world: a resolver that knows NAMES, and counts. No test asks the real one."""
    asked = []

    def look_up(host, port, **_):
        asked.append(host)
        if host not in NAMES:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in NAMES[host]]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    settings.ALLOW_PRIVATE_ADDRESSES = True
    addresses._problem.cache_clear()
    return asked


FINE = [
    "",
    "https://api.example.com/v1",
    "https://api.example.com:8443/openai/v1/",
    "https://api.example.com./v1",
    f"https://{PUBLIC}",
    "https://[2606:2800:220:1:248:1893:25c8:1946]/v1",
    "https://2852039166.example/v1",
    "https://no-such-name.example/v1",
    "https://[64:ff9b::5db8:d822]/v1",
]
PRIVATE = [
    "http://127.0.0.1:11434/v1",
    "http://localhost:8000/v1",
    "http://ollama:11434",
    "http://192.168.1.20:8000/v1",
    "http://10.0.0.1",
    "http://10.0.0.1.nip.example:8080",
    "http://[::1]:8080/v1",
    "http://[::ffff:127.0.0.1]:8080",
    "http://[fd12:3456::1]:8080",
    "https://100.64.0.7",
    "https://198.18.0.7",
]
HIDDEN = "where clouds and networks keep their own secrets"
NOBODY = "where no service can be"
SPELLING = "as four decimal numbers"
HOST = "needs a host"
KEY = "looks like a key"
REFUSED = [
    ("http://169.254.169.254/latest/meta-data", HIDDEN),
    ("https://169.254.0.1", HIDDEN),
    ("https://169.254.169.254.nip.example", HIDDEN),
    ("https://two-faced.example", HIDDEN),
    ("https://mapped.example", HIDDEN),
    ("https://zone.example", HIDDEN),
    ("http://[fe80::1]:8080", HIDDEN),
    ("http://[::ffff:169.254.169.254]", HIDDEN),
    ("http://[::ffff:a9fe:a9fe]", HIDDEN),
    ("http://[::169.254.169.254]", HIDDEN),
    ("http://[2002:a9fe:a9fe::1]", HIDDEN),
    ("http://[64:ff9b::169.254.169.254]", HIDDEN),
    ("http://[64:ff9b:1::a9fe:a9fe]", HIDDEN),
    ("http://[2001:0:4136:e378:8000:63bf:5601:5601]", HIDDEN),
    ("http://[fd00:ec2::254]", HIDDEN),
    ("http://100.100.100.200", HIDDEN),
    ("http://168.63.129.16", HIDDEN),
    ("http://0.0.0.0:8000", NOBODY),
    ("http://[::]:8000", NOBODY),
    ("https://0.1.2.3", NOBODY),
    ("https://224.0.0.1", NOBODY),
    ("https://[ff02::1]", NOBODY),
    ("https://240.0.0.1", NOBODY),
    ("https://255.255.255.255", NOBODY),
    ("https://192.0.2.1", NOBODY),
    ("https://[fec0::1]", NOBODY),
    ("https://[4000::1]", NOBODY),
    ("https://[::ffff:0.0.0.0]", NOBODY),
    ("http://127.1:8000", SPELLING),
    ("http://0x7f000001:8000", SPELLING),
    ("http://2852039166", SPELLING),
    ("http://0251.0376.0251.0376", SPELLING),
    ("http://0xa9.0xfe.0xa9.0xfe", SPELLING),
    ("http://127.0.0.1.", SPELLING),
    ("http://0127.0.0.1", SPELLING),
    ("http://1.2.3.4.5", SPELLING),
    ("http://127.0.0.0x1", SPELLING),
    ("http://api.example.com/v1", "use https"),
    (f"http://{PUBLIC}:8000", "use https"),
    ("ftp://api.example.com", "must begin with https://"),
    ("file:///etc/passwd", "must begin with https://"),
    ("api.example.com/v1", "must begin with https://"),
    ("javascript:alert(1)", "must begin with https://"),
    ("https://user:password@api.example.com", "user name or a password"),
    ("https://user@api.example.com", "user name or a password"),
    ("https://api.example.com/v1?key=0123", "end before any [?] or #"),
    ("https://api.example.com/v1?", "end before any [?] or #"),
    ("https://api.example.com/#v1", "end before any [?] or #"),
    ("https://api.example.com/sk-0123456789abcdef/v1", KEY),
    ("https://api.example.com/known-key-1/v1", KEY),
    ("https://sk-0123456789abcdef", KEY),
    ("https://AIzaSyA-0123456789abcdefghijklmnop/v1", KEY),
    ("https://", HOST),
    ("https:///v1", HOST),
    ("https://:8000/v1", HOST),
    ("https://a..b/v1", HOST),
    ("https://%31%36%39.254.169.254", HOST),
    ("https://[fe80::1%25eth0]/", HOST),
    (f"https://{'a' * 64}.example", HOST),
    ("https://api.example.com:0/v1", "The port must be"),
    ("https://api.example.com:22/v1", "The port must be"),
    ("https://api.example.com:65536/v1", "malformed"),
    ("https://api.example.com:http/v1", "malformed"),
    ("https://[::1/v1", "malformed"),
    ("https://api.example.com /v1", "character that no address has"),
    ("https://api.example.com/v1\n", "character that no address has"),
    ("\x01https://api.example.com/v1", "character that no address has"),
    ("https://api.example.com\\@169.254.169.254", "character that no address has"),
    ("https://１２７.0.0.1", "character that no address has"),
]


@pytest.mark.parametrize("allowed", [True, False])
@pytest.mark.parametrize("url", FINE)
def test_a_public_address_is_fine(settings, url, allowed):
    settings.ALLOW_PRIVATE_ADDRESSES = allowed
    check_address(url)


@pytest.mark.parametrize("url", PRIVATE)
def test_a_private_address_is_fine_where_the_site_allows_it(settings, url):
    check_address(url)
    settings.ALLOW_PRIVATE_ADDRESSES = False
    with pytest.raises(BadAddress, match="private; ALLOW_PRIVATE_ADDRESSES=true"):
        check_address(url)


@pytest.mark.parametrize("allowed", [True, False])
@pytest.mark.parametrize(("url", "reason"), REFUSED)
def test_no_provider_is_there(settings, url, reason, allowed):
    settings.ALLOW_PRIVATE_ADDRESSES = allowed
    settings.PROVIDER_KEYS = {"X_API_KEY": "known-key-1"}
    with pytest.raises(BadAddress, match=reason):
        check_address(url)


def test_a_refusal_never_repeats_a_key():
    for url in ("https://user:sk-0123456789abcdef@h", "https://h/?key=sk-0123456789abcdef", "sk-0123456789abcdef"):
        with pytest.raises(BadAddress) as caught:
            check_address(url)
        assert "0123" not in str(caught.value)


def test_a_kind_may_need_an_address_or_take_none():
    check_address("", "openai")
    with pytest.raises(BadAddress, match="OpenAI-compatible has no address of its own"):
        check_address("", "openai-compatible")
    with pytest.raises(BadAddress, match="Amazon Bedrock takes no address"):
        check_address("https://api.example.com", "bedrock")


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is moved."""
    now = [600_000.0]
    monkeypatch.setattr(addresses, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_what_a_name_resolved_to_is_believed_for_a_minute(resolver, monkeypatch, clock):
    check_resolved("https://api.example.com/v1")
    monkeypatch.setitem(NAMES, "api.example.com", ["169.254.169.254"])
    clock[0] += 59
    check_resolved("https://api.example.com/v1")
    assert resolver == ["api.example.com"]
    clock[0] += 1
    with pytest.raises(BadAddress, match=HIDDEN):
        check_resolved("https://api.example.com/v1")


def test_a_refusal_is_remembered_too(resolver, clock):
    for _ in range(2):
        with pytest.raises(BadAddress, match=HIDDEN):
            check_resolved("https://two-faced.example")
    assert resolver == ["two-faced.example"]


def test_a_change_of_the_setting_counts_at_once(settings, clock):
    check_resolved("http://ollama:11434")
    settings.ALLOW_PRIVATE_ADDRESSES = False
    with pytest.raises(BadAddress, match="private"):
        check_resolved("http://ollama:11434")
