"""A state machine that drives a real server by its API, kills it, and holds it against a model.

The model is a dictionary that says what each request is to be answered, and what it changes. A
request during which the server dies has done all that it does, or nothing: afterwards, what is
served tells which. Beside the requests, garbage is collected and everything is checked.
"""

import contextlib
import hashlib
import http.client
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from quetz.deployment import Deployment
from quetz.testing.form_reader import read_quiet
from quetz.testing.worlds import CONTENTS, FILES, World
from quetz.worker.checks.findings import Finding, Severity
from quetz.worker.collecting import collect, collect_index_files
from quetz.worker.fsck import check_deployment

SUBDIR = "noarch"
LISTED_SECONDS = 60.0
KILL_AFTER = (0.0, 0.002, 0.005, 0.01, 0.02, 0.05)
"""Seconds from the beginning of a request until the server is killed."""


class State(NamedTuple):
    """Of one file name: its SHA-256, the one it is reserved for, and whether it is yanked."""

    live: str | None = None
    reserved: str | None = None
    yanked: bool = False


Channels = Mapping[str, Mapping[str, State]]


@dataclass(frozen=True)
class Step:
    """A request, the status of its answer, and what there is after it."""

    method: str
    path: str
    status: int
    after: Channels
    body: bytes = b""


def _deleted(state: State) -> State:
    return State(None, state.live)


def _yanked(state: State) -> State:
    return state._replace(yanked=True)


def _restored(state: State) -> State:
    return state._replace(yanked=False)


_DEEDS: dict[str, tuple[str, str, Callable[[State], State]]] = {
    "delete": ("DELETE", "", _deleted),
    "yank": ("POST", "/yank", _yanked),
    "restore": ("POST", "/restore", _restored),
}
"""What to ask for, and what becomes of the file."""

channels = st.integers(0, 1)
filenames = st.sampled_from([f"{name}-{version}-0.conda" for name, version in FILES])
contents = st.integers(0, CONTENTS - 1)
# Most requests are let alone.
kills = st.sampled_from([None] * 12 + list(KILL_AFTER))


class Machine(RuleBasedStateMachine):
    """Subclasses name the ``world``."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.model: Channels = {}
        number = next(self.world.numbers)
        self.names = [f"machine{number}-{which}" for which in "ab"]

    @initialize(number=contents)
    def begin(self, number: int) -> None:
        """Have something there: most requests to nothing are answered with 404."""
        for which in (0, 1):
            self.create_channel(which, None)
        for name, version in FILES:
            self.upload(0, f"{name}-{version}-0.conda", number, force=False, kill=None)

    def create_channel(self, which: int, kill: float | None) -> None:
        name = self.names[which]
        exists = name in self.model
        body = msgspec.json.encode({"name": name, "private": False})
        after = self.model if exists else {**self.model, name: {}}
        self._do(Step("POST", "/api/channels", 409 if exists else 201, after, body), kill)

    @rule(which=channels, filename=filenames, number=contents, force=st.booleans(), kill=kills)
    def upload(
        self, which: int, filename: str, number: int, *, force: bool, kill: float | None
    ) -> None:
        data = self.world.packages[filename, number]
        digest = hashlib.sha256(data).hexdigest()
        status, after = self._put(self.names[which], filename, digest, force=force)
        path = f"/api/channels/{self.names[which]}/upload/{filename}?force={force}"
        self._do(Step("POST", path, status, after, data), kill)

    @rule(which=channels, filename=filenames, force=st.booleans(), kill=kills)
    def copy(self, which: int, filename: str, *, force: bool, kill: float | None) -> None:
        source, target = self.names[which], self.names[1 - which]
        found = self.model.get(source, {}).get(filename, State())
        if found.live is None:
            status, after = 404, self.model
        elif found.yanked:
            status, after = (409 if target in self.model else 404), self.model
        else:
            status, after = self._put(target, filename, found.live, force=force)
        package = filename.partition("-")[0]
        path = (
            f"/api/channels/{target}/packages/copy?source_channel={source}&source_package={package}"
            f"&subdir={SUBDIR}&filename={filename}&force={force}"
        )
        self._do(Step("POST", path, status, after), kill)

    @rule(which=channels, filename=filenames, deed=st.sampled_from(list(_DEEDS)), kill=kills)
    def change(self, which: int, filename: str, deed: str, kill: float | None) -> None:
        """Delete, yank or restore one version."""
        method, suffix, after_it = _DEEDS[deed]
        name = self.names[which]
        state = self.model.get(name, {}).get(filename, State())
        path = f"/api/channels/{name}/packages/{filename.partition('-')[0]}/versions"
        path += f"/{SUBDIR}/{filename}{suffix}"
        if state.live is None:
            self._do(Step(method, path, 404, self.model), kill)
            return
        files = {**self.model[name], filename: after_it(state)}
        self._do(Step(method, path, 200, {**self.model, name: files}), kill)

    @rule(
        which=channels,
        deed=st.sampled_from(["create", "delete", "one", "one", "two", "two"]),
        kill=kills,
    )
    def manage(self, which: int, deed: str, kill: float | None) -> None:
        """Create or delete a channel, or delete all files of a package."""
        if deed == "create":
            self.create_channel(which, kill)
        elif deed == "delete":
            self.delete_channel(which, kill)
        else:
            self.delete_package(which, deed, kill)

    def delete_package(self, which: int, package: str, kill: float | None) -> None:
        name = self.names[which]
        files = self.model.get(name, {})
        gone = {
            filename: _deleted(state)
            for filename, state in files.items()
            if state.live is not None and filename.startswith(f"{package}-")
        }
        after = {**self.model, name: {**files, **gone}} if gone else self.model
        path = f"/api/channels/{name}/packages/{package}"
        self._do(Step("DELETE", path, 200 if gone else 404, after), kill)

    def delete_channel(self, which: int, kill: float | None) -> None:
        name = self.names[which]
        after = {other: files for other, files in self.model.items() if other != name}
        status = 200 if name in self.model else 404
        self._do(Step("DELETE", f"/api/channels/{name}", status, after), kill)

    @rule(deed=st.sampled_from(["crash", "collect", "check", "look"]))
    def look_after(self, deed: str) -> None:
        deeds = {
            "crash": self.crash,
            "collect": self.collect_garbage,
            "check": self.check_everything,
            "look": self.look,
        }
        deeds[deed]()

    def crash(self) -> None:
        if self.world.kills > 0:
            self.world.kills -= 1
            self.world.kill()
            self.world.bury()

    def collect_garbage(self) -> None:
        with self._opened() as deployment:
            collect(deployment, grace_ms=0)
            collect_index_files(deployment)
        self.world.done["steps"] += 1

    def check_everything(self) -> None:
        errors: list[str] = []

        def tell(finding: Finding, _repaired: bool) -> None:  # noqa: FBT001  # as the check calls it
            if finding.severity is Severity.ERROR:
                errors.append(f"{finding.invariant} {finding.subject}: {finding.what}")

        with self._opened() as deployment:
            check_deployment(
                deployment, deep=True, repair=False, tell=tell, watch=lambda _done, _all: None
            )
        assert not errors, errors
        self.world.done["steps"] += 1

    def look(self) -> None:
        """Wait until each index shows what the model has, and read all files."""
        for name in self.names:
            if name not in self.model:
                assert self.world.ask("GET", f"/api/channels/{name}")[0] == 404
                continue
            files = self.model[name]
            for filename, state in files.items():
                self._check_bytes(name, filename, state)
            listing = {n: state.live for n, state in files.items() if _is_listed(state)}
            self._wait_until_listed(name, listing)
        self.world.done["steps"] += 1

    def teardown(self) -> None:
        self.look()

    def _put(self, name: str, filename: str, digest: str, *, force: bool) -> tuple[int, Channels]:
        """Return how an upload of such bytes is answered, and what there is then."""
        if name not in self.model:
            return 404, self.model
        state = self.model[name].get(filename, State())
        if state.live == digest:
            return 200, self.model
        if state.reserved not in {None, digest} and not force:
            return 409, self.model
        files = {**self.model[name], filename: State(digest, digest)}
        return 201, {**self.model, name: files}

    def _do(self, step: Step, kill: float | None) -> None:
        self.world.done["steps"] += 1
        if kill is None or self.world.kills <= 0:
            status, _, body = self.world.ask(step.method, step.path, step.body)
            assert status == step.status, (step.method, step.path, status, step.status, body)
            self._adopt(step.after)
            return
        self.world.kills -= 1
        self._do_and_kill(step, kill)

    def _do_and_kill(self, step: Step, delay: float) -> None:
        self.world.start()
        killer = threading.Timer(delay, self.world.kill)
        killer.start()
        answered: int | None = None
        with contextlib.suppress(OSError, http.client.HTTPException):
            answered = self.world.ask(step.method, step.path, step.body)[0]
        killer.join()
        self.world.bury()
        assert answered in {None, step.status}, (step.method, step.path, answered, step.status)
        if answered is not None or self._observe() == _visible(step.after, self.names):
            self._adopt(step.after)
        assert self._observe() == _visible(self.model, self.names), (step.method, step.path)

    def _adopt(self, after: Channels) -> None:
        self.model = {name: dict(files) for name, files in after.items()}

    def _observe(self) -> object:
        """Return what is served, in the shape of `_visible`."""
        seen: dict[str, dict[str, object]] = {}
        for name in self.names:
            if self.world.ask("GET", f"/api/channels/{name}")[0] == 404:
                continue
            seen[name] = {}
            for package, version in FILES:
                filename = f"{package}-{version}-0.conda"
                path = f"/api/channels/{name}/packages/{package}/versions/{SUBDIR}/{filename}"
                status, _, body = self.world.ask("GET", f"{path}/yank")
                if status == 404:
                    continue
                data = self.world.ask("GET", f"/get/{name}/{SUBDIR}/{filename}")[2]
                yanked = msgspec.json.decode(body)["yanked"]
                seen[name][filename] = hashlib.sha256(data).hexdigest(), yanked
        return seen

    def _wait_until_listed(self, name: str, listing: Mapping[str, str | None]) -> None:
        deadline = time.monotonic() + LISTED_SECONDS
        while True:
            seen = self._read_forms(name)
            if all(said == listing for said in seen.values()):
                return
            assert time.monotonic() < deadline, (name, listing, seen)
            time.sleep(0.05)

    def _check_bytes(self, name: str, filename: str, state: State) -> None:
        status, _, data = self.world.ask("GET", f"/get/{name}/{SUBDIR}/{filename}")
        served = hashlib.sha256(data).hexdigest() if status == 200 else None
        assert served == state.live, (name, filename, status, served, state)

    def _read_forms(self, name: str) -> Mapping[str, Mapping[str, str]]:
        def fetch(url: str) -> tuple[str, bytes]:
            status, etag, body = self.world.ask("GET", urlsplit(url).path)
            assert status == 200, (url, status)
            return etag, body

        return read_quiet(fetch, f"{self.world.start().url}/get/{name}/{SUBDIR}/")

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Deployment]:
        self.world.start()  # a server mends, when it starts, what a crash has left
        with contextlib.closing(Deployment.open(self.world.path)) as deployment:
            yield deployment


def run_machine(world: World, *, examples: int, steps: int, number: int) -> None:
    """Run examples of so many steps, the same ones for the same seed ``number``.

    Raises:
        AssertionError: the server did what the model does not.
    """

    class Bound(Machine):
        pass

    Bound.world = world
    options = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # a kill never lands in the same place twice
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(seed(number)(Bound), settings=options)
    finally:
        world.close()


def _is_listed(state: State) -> bool:
    return state.live is not None and not state.yanked


def _visible(model: Channels, names: list[str]) -> object:
    """Return what of a model can be seen: ``{channel: {file name: (sha256, yanked)}}``."""
    return {
        name: {
            filename: (state.live, state.yanked)
            for filename, state in model[name].items()
            if state.live is not None
        }
        for name in names
        if name in model
    }
