"""How often somebody may ask, connect, send and guess: every rate limit, counted in this process's memory.

The rates are settings. A limit costs some microseconds, and what is remembered is bounded, whoever comes.
"""

from __future__ import annotations

import ipaddress
import threading
import time

from django.conf import settings
from django.http import HttpRequest
from limits import RateLimitItem
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter

# Some 200 bytes each.
MOST_COUNTERS = 100_000
# One customer of a provider has a whole one of these.
IPV6_PREFIX = 64


class TooMany(Exception):
    """Somebody does something too often. After `retry_after_ms` they may again."""

    def __init__(self, retry_after_ms: int) -> None:
        super().__init__(f"too many; again in {retry_after_ms} ms")
        self.retry_after_ms = retry_after_ms


class CounterStorage(Storage):
    """Counters in memory, at most MOST_COUNTERS; the oldest give way. For any thread.

    The library's own starts a thread with every other hit, and grows with the addresses that come.
    """

    STORAGE_SCHEME = ["counters"]

    def __init__(self, most: int = MOST_COUNTERS) -> None:
        super().__init__()
        self._most = most
        self._lock = threading.Lock()
        # By age: {key: (count, when it ends)}
        self._counters: dict[str, tuple[int, float]] = {}

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    def __len__(self) -> int:
        return len(self._counters)

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        now = time.time()
        with self._lock:
            count, ends_at = self._counters.get(key, (0, 0.0))
            if ends_at <= now:
                self._counters.pop(key, None)
                self._make_room()
                count, ends_at = 0, now + expiry
            self._counters[key] = count + amount, ends_at
        return count + amount

    def _make_room(self) -> None:
        while len(self._counters) >= self._most:
            del self._counters[next(iter(self._counters))]

    def get(self, key: str) -> int:
        count, ends_at = self._counters.get(key, (0, 0.0))
        return count if ends_at > time.time() else 0

    def get_expiry(self, key: str) -> float:
        return self._counters.get(key, (0, time.time()))[1]

    def check(self) -> bool:
        return True

    def reset(self) -> int:
        with self._lock:
            count = len(self._counters)
            self._counters.clear()
        return count

    def clear(self, key: str) -> None:
        with self._lock:
            self._counters.pop(key, None)


counters = CounterStorage()
_limiter = FixedWindowRateLimiter(counters)


def hit(name: str, who: object) -> None:
    """Count one more of what the setting `name` limits, for `who` (None: nobody to be limited). Raises TooMany."""
    if settings.RATE_LIMITS and who is not None:
        rate: RateLimitItem = getattr(settings, name)
        if not _limiter.hit(rate, name, str(who)):
            raise _too_many(rate, name, who)


def give_back(name: str, who: object) -> None:
    """Take back one that `hit` has counted."""
    rate: RateLimitItem = getattr(settings, name)
    key = rate.key_for(name, str(who))
    if counters.get(key):
        counters.incr(key, rate.get_expiry(), -1)


def check(name: str, who: object) -> None:
    """Raise TooMany where one more would be too many; nothing is counted."""
    if settings.RATE_LIMITS and who is not None:
        rate: RateLimitItem = getattr(settings, name)
        if not _limiter.test(rate, name, str(who)):
            raise _too_many(rate, name, who)


def is_too_many(name: str, who: object) -> bool:
    """Count as `hit` does, and return whether it is too many."""
    try:
        hit(name, who)
    except TooMany:
        return True
    return False


def hit_message(user_key: str, token_id: object, address: str | None) -> None:
    """Count a message for who sends it, for the token if one came with it, and for where it comes from."""
    hit("RATE_MESSAGES_PER_USER", user_key)
    hit("RATE_MESSAGES_PER_TOKEN", token_id)
    hit("RATE_MESSAGES_PER_ADDRESS", address)


def _too_many(rate: RateLimitItem, name: str, who: object) -> TooMany:
    left = _limiter.get_window_stats(rate, name, str(who)).reset_time - time.time()
    return TooMany(max(1, round(left * 1000)))


# --- Addresses --------------------------------------------------------------------------------------------------------


def network_of(address: str | None) -> str | None:
    """Return what counts as one address: an IPv4 address, or the first of an IPv6 /64; None for what is none."""
    try:
        parsed = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, IPV6_PREFIX), strict=False).network_address)


def network_of_request(request: HttpRequest) -> str | None:
    """Return what counts as the address that a request came from."""
    return network_of(request.META.get("REMOTE_ADDR"))
