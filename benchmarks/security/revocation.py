"""REL-21: what is taken away works nowhere any more, on no worker, within a second."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.security.places import SECRET_CHANNEL, Place, Reply, running
from quetz.db.base import now_ms
from quetz.db.queries.users import get_user
from quetz.deployment import Deployment
from quetz.services.sessions import start_session

WORKERS = 3
ROUNDS = 10
PROBES = 12  # of new connections, so that each worker answers some
WATCHED_SECONDS = 2.5
SITE = "/api/channels/closed"


def measure(scale: float, folder: Path) -> Iterator[Figure]:
    rounds = max(1, int(ROUNDS * scale))
    with running(folder / "server", "--workers", str(WORKERS)) as place:
        for name, case in CASES.items():
            times = [_last_success(*case(place, number)) for number in range(rounds)]
            title = f"REL-21 {name}: how long it went on working"
            basis = f"{WORKERS} workers, {rounds} rounds"
            yield Figure(title, [max(times)], "s", 1, basis)


Case = tuple[Callable[[], Reply], Callable[[], object]]


def _last_success(probe: Callable[[], Reply], revoke: Callable[[], object]) -> float:
    """Return how long after ``revoke`` was done the last request of ``probe`` succeeded."""
    for _ in range(PROBES):  # every worker has cached it
        assert probe().status == 200
    revoke()
    done = time.perf_counter()
    last = 0.0
    while (now := time.perf_counter() - done) < WATCHED_SECONDS:
        if probe().status == 200:
            last = now
    return last


def _key(place: Place, number: int) -> Case:
    key = place.make_key(f"key-{number}", "owner")
    public = key.split("-")[1]
    return (
        lambda: place.ask("GET", SITE, key=key),
        lambda: _expect(place.ask("DELETE", f"/api/api-keys/{public}"), 200),
    )


def _session(place: Place, number: int) -> Case:
    place.make_key(f"session-{number}", "owner")
    cookie = _log_in(place, f"session-{number}")
    cookie = f"session={cookie}"
    return (
        lambda: place.ask("GET", SITE, key="", Cookie=cookie),
        lambda: _expect(place.ask("GET", "/auth/logout", key="", Cookie=cookie), 307),
    )


def _account(place: Place, number: int) -> Case:
    name = f"account-{number}"
    key = place.make_key(name, "owner")

    def disable() -> None:
        with _opened(place) as deployment, deployment.transaction(write=True) as session:
            get_user(session, name).disabled_at = now_ms()

    return lambda: place.ask("GET", SITE, key=key), disable


def _role(place: Place, number: int) -> Case:
    name = f"role-{number}"
    key = place.make_key(name)
    members = f"/api/channels/{SECRET_CHANNEL}/members"
    _expect(place.post_json(members, {"username": name, "role": "member"}), 201)
    return (
        lambda: place.ask("GET", SITE, key=key),
        lambda: _expect(place.ask("DELETE", f"{members}?username={name}"), 200),
    )


def _server_role(place: Place, number: int) -> Case:
    name = f"server-role-{number}"
    key = place.make_key(name, "maintainer")

    def demote() -> None:
        with _opened(place) as deployment, deployment.transaction(write=True) as session:
            get_user(session, name).role = None

    return lambda: place.ask("GET", SITE, key=key), demote


def _download(place: Place, number: int) -> Case:
    """A channel that was public is read by everyone until it is made private."""
    name = f"public.{number}"
    _expect(place.post_json("/api/channels", {"name": name, "private": False}), 201)
    path = f"/get/{name}/noarch/repodata.json"
    return (
        lambda: place.ask("GET", path, key=""),
        lambda: _expect(place.ask("PATCH", f"/api/channels/{name}", b'{"private": true}'), 200),
    )


@contextmanager
def _opened(place: Place) -> Iterator[Deployment]:
    deployment = Deployment.open(place.deployment)
    try:
        yield deployment
    finally:
        deployment.close()


def _log_in(place: Place, name: str) -> str:
    with _opened(place) as deployment, deployment.transaction(write=True) as session:
        return start_session(session, get_user(session, name), "dummy")


def _expect(reply: Reply, status: int) -> None:
    assert reply.status == status, reply


CASES: dict[str, Callable[[Place, int], Case]] = {
    "a revoked key": _key,
    "a session after logout": _session,
    "the key of a disabled account": _account,
    "a role in a channel": _role,
    "a role on the server": _server_role,
    "a channel made private": _download,
}
