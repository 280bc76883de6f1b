"""Which addresses a provider may have: checked when an admin saves one, and again before each use.

The child resolves the name once more and follows redirects, so this closes mistakes and simple attacks; where admins
are not trusted, a firewall has to do the rest. docs/keys.md says so.
"""

from __future__ import annotations

import functools
import ipaddress
import re
import socket
import time
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

from providers.kinds import KINDS, Kind
from providers.secrets import KEY_SHAPE, redact

Address = IPv4Address | IPv6Address

# How long `check_resolved` believes what a name resolved to.
RESOLVED_SECONDS = 60
# Below this no model server listens, but much else does.
FIRST_FREE_PORT = 1024
WEB_PORTS = (80, 443)

# Where clouds hand out their secrets, beside the link-local range.
METADATA = [
    ipaddress.ip_network(text)
    for text in ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254")
]
# Where Ollama and its like are. Tailscale lives in 100.64.0.0/10, and some proxies put every name in 198.18.0.0/15.
PRIVATE = [
    ipaddress.ip_network(text)
    for text in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "198.18.0.0/15",
        "::1/128",
        "fc00::/7",
    )
]
# Addresses that carry an IPv4 address in their last 32 bits: IPv4-compatible and NAT64.
IPV4_AT_THE_END = [ipaddress.ip_network(text) for text in ("::/96", "64:ff9b::/96", "64:ff9b:1::/48")]


class BadAddress(ValueError):
    """An address that no request may go to; the text is a sentence for an admin."""


def check_address(url: str, kind: str = "") -> None:
    """Raise BadAddress where no provider (of this kind) may have this address; "" is the service's own.

    Resolves the name, which blocks as long as the system's resolver does. A name that does not resolve is let
    through: nothing can be asked there, and the network may be down only now.
    """
    _check_kind(url, kind)
    if not url:
        return
    parts = _split(url)
    for address in _resolve(parts):
        _check_ip(address, parts.scheme)


def find_checked(url: str) -> list[Address]:
    """Return the addresses that the name resolves to, for who then connects to one of them and asks nobody again.

    Resolves the name, which blocks. Raises BadAddress where it does not resolve, or where any of them is refused.
    """
    parts = _split(url)
    found = _resolve(parts)
    if not found:
        raise BadAddress(f"The name {parts.hostname} leads nowhere.")
    for address in found:
        _check_ip(address, parts.scheme)
    return found


def check_resolved(url: str) -> None:
    """As `check_address`, for every message: remembered for up to a minute, 2 µs; else it resolves, which blocks.

    Call it in a thread. Raises BadAddress.
    """
    period = int(time.monotonic() // RESOLVED_SECONDS)
    if problem := _problem(url, settings.ALLOW_PRIVATE_ADDRESSES, period):
        raise BadAddress(problem)


def find_proxy(url: str) -> str:
    """Return the proxy through which this address is asked, "" for none; a service's own address is "".

    What is private is asked directly, where that shows without a look-up: a proxy to the outside cannot know it.
    """
    host = urlsplit(url).hostname or ""
    address = _parse_ip(host)
    inside = host == "localhost" or (address is not None and any(address in network for network in PRIVATE))
    return "" if inside else settings.EGRESS_PROXY


def needs_lookup(url: str) -> bool:
    """Return whether `check_resolved` would ask the resolver: not for a literal IP address, nor for ""."""
    return bool(url) and _parse_ip(urlsplit(url).hostname or "") is None


@functools.lru_cache(maxsize=256)
def _problem(url: str, allow_private: bool, period: int) -> str:
    # The last two arguments only tell one answer from another.
    try:
        check_address(url)
    except BadAddress as problem:
        return str(problem)
    return ""


def _check_kind(url: str, kind: str) -> None:
    if kind not in KINDS:
        return
    info = KINDS[Kind(kind)]
    if not url and info.needs_address:
        raise BadAddress(f"{info.label} has no address of its own: give one.")
    if url and not info.takes_address:
        raise BadAddress(f"{info.label} takes no address: leave this empty.")


def _split(url: str) -> SplitResult:
    """Return the parts of an address whose text is in order."""
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise BadAddress("The address has a space or another character that no address has.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadAddress("This is no address: its host or its port is malformed.") from None
    if parts.scheme not in ("http", "https"):
        raise BadAddress("The address must begin with https:// (or http://, in a private network).")
    if "@" in parts.netloc:
        raise BadAddress("The address must not hold a user name or a password.")
    if "?" in url or "#" in url:
        raise BadAddress("The address must end before any ? or #. A key belongs in the field for the key.")
    if port is not None and port not in WEB_PORTS and port < FIRST_FREE_PORT:
        raise BadAddress("The port must be 80, 443, or from 1024 to 65535.")
    _check_host(parts.hostname or "")
    if redact(parts.path) != parts.path or ("." not in parts.netloc and KEY_SHAPE.search(parts.netloc)):
        raise BadAddress("The address holds what looks like a key. It belongs in the field for the key.")
    return parts


def _check_host(host: str) -> None:
    """Refuse hosts that are none, and spellings of an IPv4 address that hide which one it is."""
    if _parse_ip(host) is not None:
        return
    if not re.fullmatch(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?", host):
        raise BadAddress("The address needs a host: a name, or an IP address, in [ ] where it has colons.")
    last = host.rstrip(".").rsplit(".", 1)[-1]
    if re.fullmatch(r"0x[0-9a-f]*|\d+", last):
        raise BadAddress("Write the IP address as four decimal numbers, such as 192.168.0.10.")


def _parse_ip(host: str) -> Address | None:
    # A zone (fe80::1%eth0) belongs to link-local addresses, which are refused anyhow.
    try:
        return None if "%" in host else ipaddress.ip_address(host)
    except ValueError:
        return None


def _resolve(parts: SplitResult) -> list[Address]:
    host = parts.hostname or ""
    if (address := _parse_ip(host)) is not None:
        return [address]
    try:
        found = socket.getaddrinfo(host, parts.port or 443, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [ipaddress.ip_address(entry[4][0]) for entry in found]


def _check_ip(address: Address, scheme: str) -> None:
    """Refuse an address that no provider can have, and a private one where the site does not allow them."""
    address = _innermost(address)
    if any(address in network for network in METADATA) or address.is_link_local:
        raise BadAddress(f"The address leads to {address}, where clouds and networks keep their own secrets.")
    if any(address in network for network in PRIVATE):
        if not settings.ALLOW_PRIVATE_ADDRESSES:
            raise BadAddress(f"The address leads to {address}, which is private; ALLOW_PRIVATE_ADDRESSES=true lets it.")
        return
    if not address.is_global or address.is_multicast or address.is_reserved or _is_site_local(address):
        raise BadAddress(f"The address leads to {address}, where no service can be.")
    if scheme == "http":
        raise BadAddress("Plain http is for this machine and private networks, since it shows the key: use https.")


def _innermost(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, IPv4Address) or address.is_loopback or address.is_unspecified:
        return address
    if any(address in network for network in IPV4_AT_THE_END):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else address)


def _is_site_local(address: Address) -> bool:
    return isinstance(address, IPv6Address) and address.is_site_local
