"""How often callers may ask for what takes much of the server, or may guess at API keys."""

import time
from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address
from math import ceil

from limits import RateLimitItem, parse
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter

from quetz.errors.api_keys import TooOften
from quetz.services.permissions import Operation, Principal
from quetz.settings.sections import Limits

KEY_FAILURES = "key_failures"
LIMITED: Mapping[Operation, str] = {
    Operation.SEARCH_CHANNELS: "searches",
    Operation.SEARCH_PACKAGES: "searches",
    Operation.FILE_UPLOAD: "uploads",
    Operation.FILE_UPLOAD_ANY: "uploads",
    Operation.APIKEY_REVOKE_LEAKED: "leaked_keys",
}
NAMES: Mapping[str, str] = {
    KEY_FAILURES: "requests with an API key that is unknown, expired or revoked",
    "searches": "searches",
    "uploads": "uploads",
    "leaked_keys": "requests to revoke leaked keys",
}
MOST_CALLERS = 50_000


class Rates:
    """Counts of one server process, by kind of request and caller; not of reading packages."""

    def __init__(self, limits: Limits) -> None:
        self._limiter = FixedWindowRateLimiter(_Windows())
        given = {kind: str(getattr(limits, kind)) for kind in NAMES}
        self._limits: Mapping[str, RateLimitItem] = {
            kind: parse(text) for kind, text in given.items() if text
        }

    def count(self, operation: Operation, principal: Principal) -> None:
        """Raises TooOften: the caller has done enough of these for a while."""
        kind = LIMITED.get(operation)
        if kind is not None:
            user = principal.user_id
            self._hit(kind, _network(principal.address) if user is None else f"user {user}")

    def count_key_failure(self, address: str | None) -> None:
        """Count a request with a dead or unknown key, which are all that this may refuse.

        Raises:
            TooOften: many came from this address.
        """
        self._hit(KEY_FAILURES, _network(address))

    def _hit(self, kind: str, caller: str) -> None:
        limit = self._limits.get(kind)
        if limit is None or self._limiter.hit(limit, kind, caller):
            return
        ends_at = self._limiter.get_window_stats(limit, kind, caller).reset_time
        rate = f"{limit.amount} per {limit.GRANULARITY.name}"
        raise TooOften(NAMES[kind], rate, max(1, ceil(ends_at - time.time())))


def _network(address: str | None) -> str:
    """Return what one caller's addresses have in common: he has a whole /64 of IPv6."""
    try:
        ip = ip_address(address or "")
    except ValueError:  # of a unix socket
        return address or ""
    if isinstance(ip, IPv6Address):
        return str(ip.ipv4_mapped or int(ip) >> 64)
    return str(ip)


class _Windows(Storage):
    """Counters in memory, of the callers that came last.

    The storage of the library's own grows with the number of callers, and looks at all of
    them in a thread of its own after each count.
    """

    STORAGE_SCHEME = None

    def __init__(self) -> None:
        super().__init__()
        self._windows: dict[str, tuple[int, float]] = {}  # the oldest first

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        count, ends_at = self._window(key)
        if not count:
            self._windows.pop(key, None)
            while len(self._windows) >= MOST_CALLERS:
                del self._windows[next(iter(self._windows))]
            ends_at = time.time() + expiry
        self._windows[key] = (count + amount, ends_at)
        return count + amount

    def get(self, key: str) -> int:
        return self._window(key)[0]

    def get_expiry(self, key: str) -> float:
        return self._window(key)[1]

    def check(self) -> bool:
        return True

    def reset(self) -> int:
        count = len(self._windows)
        self._windows.clear()
        return count

    def clear(self, key: str) -> None:
        self._windows.pop(key, None)

    def _window(self, key: str) -> tuple[int, float]:
        count, ends_at = self._windows.get(key, (0, 0.0))
        now = time.time()
        return (count, ends_at) if ends_at > now else (0, now)
