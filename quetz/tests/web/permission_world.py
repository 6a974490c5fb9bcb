"""The world of the permission matrix behind the whole application, and its cells by HTTP."""

import base64
import json
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from httpx2 import Response
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from quetz.db.base import Base
from quetz.db.models import ChannelMirror, User
from quetz.deployment import STORE_FOLDER, Deployment
from quetz.services.permissions import Principal, Role, Scope
from quetz.storage.local import LocalStore
from quetz.testing.factories import add_member, make_channel, make_user
from quetz.testing.packages import build_package
from quetz.testing.publishing import publish_all
from quetz.tests.services.permission_matrix import (
    ALLOWED,
    CREDENTIALS,
    DENIED,
    HIDDEN,
    Cell,
    Credential,
    World,
)
from quetz.tests.web.permission_requests import (
    MEANINGLESS,
    REQUESTS,
    Ask,
)
from quetz.web.app import create_app

ABSENT = "absent"  # as long as "closed", so that lengths agree, too
HOST = "testserver"
CARRIERS = ("X-API-Key", "Bearer", "Basic")  # of keys
CHANNELS = {"public": "open", "private": "closed", "-": "open"}
# Whoever asks thousands of cells fails, searches and uploads more often than a server takes.
NO_RATES = '[limits]\nkey_failures = ""\nsearches = ""\nuploads = ""\nleaked_keys = ""\n'
PACKAGES = ("pkg-1.0-0.conda", "pkg-2.0-0.conda", "fresh-1.0-0.conda")


class WebWorld(World):
    """The world with what its requests name.

    Every user that is made is a maintainer of "target", so that only what he copies there can be
    refused; and nobody's part of anything is the last of its kind.
    """

    def __init__(self, session: Session) -> None:
        self.target = make_channel(session, "target")
        super().__init__(session)
        self.source = make_channel(session, "source")
        self.steward = make_user(session, "steward", role="maintainer")
        self.bystander = make_user(session, "bystander", role="member")
        make_user(session, "newcomer")
        for place in (*self.channels.values(), self.elsewhere, self.target, self.source):
            add_member(session, place, make_user(session, f"owner-of-{place.name}"), "owner")
        for visibility, channel in self.channels.items():
            add_member(session, channel, self.bystander, "member")
            add_member(session, self.packages[visibility], self.bystander, "member")
        self.mirrors = {
            channel.name: self._mirror(channel.id) for channel in self.channels.values()
        }
        self.others_key = self.spare_key(self.bystander)

    def user(self, server: str | None = None, **roles: str) -> User:
        user = super().user(server, **roles)
        add_member(self.session, self.target, user, "maintainer")
        return user

    def scopes(self, place: str, role: str) -> list[Scope]:
        target = Scope(self.target.id, None, Role.MAINTAINER)
        return [*super().scopes(place, role), target]

    def spare_key(self, owner: User) -> str:
        """Return the public id of a new key."""
        return self.key(owner).split("-")[1]

    def _mirror(self, channel_id: int) -> str:
        url = f"https://mirror.example/{channel_id}"
        row = ChannelMirror(channel_id=channel_id, url=url, api_endpoint=url, metrics_endpoint=url)
        self.session.add(row)
        self.session.flush()
        return row.public_id


class Snapshot:
    """All rows and files of a deployment, to compare with later, and to come back to."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._store = deployment.path / STORE_FOLDER
        self._tables = [table.name for table in Base.metadata.sorted_tables]
        self._watch = deployment.engine.connect()
        self._rows = self._read_rows()
        self._files = self._list_files()
        self._seen = self._version()

    def close(self) -> None:
        self._watch.close()

    def changed_rows(self) -> list[str]:
        """Return the names of the tables that are not what they were."""
        if self._is_untouched():
            return []
        now = self._read_rows()
        return [name for name in self._tables if set(now[name]) != set(self._rows[name])]

    def changed_files(self) -> list[str]:
        return sorted(self._files ^ self._list_files())

    def new_events(self) -> int:
        return len(self._read_rows()["events"]) - len(self._rows["events"])

    def restore(self) -> None:
        if self._is_untouched() and not self.changed_files():
            return
        for path in self._list_files() - self._files:
            Path(path).unlink()
        engine = self._deployment.engine.execution_options(write=True)
        with engine.begin() as connection:
            for name in reversed(self._tables):
                connection.exec_driver_sql(f"DELETE FROM {name}")
            mark = "?" if engine.dialect.name == "sqlite" else "%s"
            for name, rows in self._rows.items():
                if rows:
                    marks = ", ".join([mark] * len(rows[0]))
                    connection.exec_driver_sql(f"INSERT INTO {name} VALUES ({marks})", rows)
        self._deployment.changes.committed()
        self._seen = self._version()

    def _is_untouched(self) -> bool:
        """Tell whether nobody has committed anything; only SQLite tells."""
        return self._seen is not None and self._seen == self._version()

    def _version(self) -> int | None:
        if self._watch.dialect.name != "sqlite":
            return None
        with self._watch.begin():
            return self._watch.exec_driver_sql("PRAGMA data_version").scalar()

    def _read_rows(self) -> dict[str, list[tuple[Any, ...]]]:
        with self._deployment.engine.connect() as connection:
            return {
                name: [tuple(row) for row in connection.exec_driver_sql(f"SELECT * FROM {name}")]
                for name in self._tables
            }

    def _list_files(self) -> set[str]:
        return {f"{folder}/{name}" for folder, _, names in os.walk(self._store) for name in names}


class Matrix:
    """An application on a deployment with the whole world, asked cell by cell."""

    def __init__(
        self, deployment: Deployment, routes: Any, client: TestClient, scratch: Path
    ) -> None:
        self.deployment = deployment
        self.client = client
        self.routes = routes
        self._files = {
            filename: build_package(scratch, *filename.split("-")[:2]).read_bytes()
            for filename in PACKAGES
        }
        with deployment.transaction(write=True) as session:
            world = WebWorld(session)
            self._mirrors, self._others_key = world.mirrors, world.others_key
            operator_key = world.key(world.user("owner"))
            self.callers = {name: self._caller(world, name) for name in CREDENTIALS}
        self._upload(operator_key, scratch)
        publish_all(deployment)
        self._before = Snapshot(deployment)

    def close(self) -> None:
        self._before.close()

    def faults(self, name: str, cells: dict[Cell, str], carrier: str = CARRIERS[0]) -> list[str]:
        """Ask each cell as who is called ``name`` in the matrix; say where it is another letter.

        ``carrier`` is how a key is sent.
        """
        caller = self.callers[name]
        caller.carry(carrier)
        found = []
        for (operation, visibility), letter in cells.items():
            for ask in requests_of(operation, visibility):
                fault = self._fault(caller, ask, CHANNELS[visibility], letter)
                if fault is not None:
                    found.append(f"{operation} {visibility} {letter}: {ask.path}: {fault}")
                if ask.changes:
                    self.restore()
        changed = self._before.changed_files()
        return [*found, *(f"a file came or went: {path}" for path in changed)]

    def restore(self) -> None:
        """Undo what a request changed."""
        self._before.restore()

    def _fault(self, caller: "Caller", ask: Ask, channel: str, letter: str) -> str | None:
        """Ask, and say what is wrong with the answer, or with what it left."""
        if letter == ALLOWED and ask.writes_to is not None and not caller.writes:
            letter = DENIED
        answer = self.send(caller, ask, channel)
        fault = {ALLOWED: self._allowed, DENIED: self._denied, HIDDEN: self._hidden}[letter](
            caller, ask, channel, answer
        )
        if fault is not None:
            return f"{fault}: {answer.status_code} {answer.text[:200]}"
        if letter == ALLOWED and ask.changes:
            events = self._before.new_events()
            return None if events == 1 else f"it left {events} events"
        changed = self._before.changed_rows()
        changed += self._before.changed_files() if ask.changes else []
        return f"it changed {', '.join(changed)}" if changed else None

    def _allowed(self, caller: "Caller", ask: Ask, channel: str, answer: Response) -> str | None:
        if not 200 <= answer.status_code < 400:
            return "not allowed"
        shown = ask.shows is None or ask.shows.format(channel=channel) in answer.text
        return None if shown else "not shown"

    def _denied(self, caller: "Caller", ask: Ask, channel: str, answer: Response) -> str | None:
        if not caller.known:
            return None if answer.status_code == 401 else "not refused"
        if ask.shows is not None and answer.status_code == 200:
            return "shown" if ask.shows.format(channel=channel) in answer.text else None
        return None if answer.status_code in ask.refused else "not refused"

    def _hidden(self, caller: "Caller", ask: Ask, channel: str, answer: Response) -> str | None:
        expected = 200 if ask.shows is not None else 404 if caller.known else 401
        if answer.status_code != expected:
            return f"not {expected}"
        if ask.shows is not None and ask.shows.format(channel=channel) in answer.text:
            return "shown"
        absent = self.send(caller, ask, ABSENT)
        if _as_of(answer, channel) != _as_of(absent, ABSENT):
            return f"other than of an absent channel: {absent.status_code} {absent.text[:200]}"
        return None

    def send(self, caller: "Caller", ask: Ask, channel: str) -> Response:
        names = caller.names | {
            "channel": channel,
            "mirror": self._mirrors.get(channel, self._mirrors["closed"]),
            "others_key": self._others_key,
        }
        body: dict[str, Any] = {}
        if ask.package is not None and ask.form:
            body["files"] = [("files", (ask.package, self._files[ask.package]))]
            body["data"] = {"force": "true"} if ask.force else {}
        elif ask.package is not None:
            body["content"] = self._files[ask.package]
        elif ask.json is not None:
            body["json"] = _filled(ask.json, names)
        path = caller.prefix + ask.path.format(**names)
        headers = caller.headers | (self._csrf(caller) if ask.changes else {})
        return self.client.request(
            ask.method, path, headers=headers, follow_redirects=False, **body
        )

    def _csrf(self, caller: "Caller") -> dict[str, str]:
        """Return what a browser sends with a request that changes something."""
        if "Cookie" not in caller.headers:
            return {}
        answer = self.client.get("/api/csrf-token", headers=caller.headers)
        headers = {"Origin": f"http://{HOST}", "Sec-Fetch-Site": "same-origin"}
        return headers | ({"X-CSRF": answer.json()["token"]} if answer.is_success else {})

    def _caller(self, world: WebWorld, name: str) -> "Caller":
        credential = CREDENTIALS[name](world)
        principal = credential.principal(world.session)
        if principal.user_id is None:
            return Caller(credential, principal, {"me": "bystander", "my_key": world.others_key})
        user = world.session.get_one(User, principal.user_id)
        return Caller(credential, principal, {"me": user.username, "my_key": world.spare_key(user)})

    def _upload(self, key: str, scratch: Path) -> None:
        (scratch / "first").mkdir()
        for channel, name in (("open", "pkg"), ("closed", "pkg"), ("source", "other")):
            path = build_package(scratch / "first", name, files={"share/first": b"1"})
            answer = self.client.post(
                f"/api/channels/{channel}/upload/{path.name}",
                content=path.read_bytes(),
                headers={"X-API-Key": key},
            )
            assert answer.status_code == 201


def requests_of(operation: str, visibility: str) -> tuple[Ask, ...]:
    if (operation, visibility) in MEANINGLESS:
        return ()
    return REQUESTS.get(operation, ())


class Caller:
    """Who asks: how he shows it, and what stands for him in a request."""

    def __init__(self, credential: Credential, principal: Principal, names: dict[str, str]) -> None:
        self.known = principal.known
        self.writes = principal.known and not principal.read_only
        self.names = names | {"beyond": ABSENT if principal.elevated else "nobodys"}
        self.prefix = f"/t/{credential.secret}" if credential.carrier == "token in the URL" else ""
        self.headers: dict[str, str] = {}
        self.key = credential.secret if credential.carrier == "key" else None
        if credential.carrier == "cookie":
            self.headers["Cookie"] = f"__Host-session={credential.secret}"

    def carry(self, carrier: str) -> None:
        """Send the key in another way from now on; a cookie has but one."""
        if self.key is None:
            return
        packed = base64.b64encode(f"any:{self.key}".encode()).decode()
        self.headers = {
            "X-API-Key": {"X-API-Key": self.key},
            "Bearer": {"Authorization": f"Bearer {self.key}"},
            "Basic": {"Authorization": f"Basic {packed}"},
        }[carrier]


@contextmanager
def matrix_on(url: URL, folder: Path) -> Iterator[Matrix]:
    """Make the world on an empty database, and open the application on it."""
    path, scratch = folder / "deployment", folder / "scratch"
    path.mkdir()
    scratch.mkdir()
    text = json.dumps(url.render_as_string(hide_password=False))  # a TOML string, too
    (path / "config.toml").write_text(f"[sqlalchemy]\ndatabase_url = {text}\n{NO_RATES}")
    LocalStore.create(path / STORE_FOLDER).close()
    deployment = Deployment.open(path)
    app: Any = create_app(deployment)
    with (
        TestClient(app, f"http://{HOST}", raise_server_exceptions=False) as client,
        closing(Matrix(deployment, app._app.routes, client, scratch)) as matrix,
    ):
        yield matrix


def _as_of(answer: Response, channel: str) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Return an answer without its date, and with another name in place of the channel's."""
    old, new = channel.encode(), b"channel"
    lines = [
        (name, value.replace(old, new))
        for name, value in answer.headers.raw
        if name.lower() != b"date"
    ]
    return answer.status_code, lines, answer.content.replace(old, new)


def _filled(value: Any, names: dict[str, str]) -> Any:
    """Fill in the placeholders of all texts in a JSON value."""
    if isinstance(value, str):
        return value.format(**names)
    if isinstance(value, list):
        return [_filled(item, names) for item in value]
    if isinstance(value, dict):
        return {key: _filled(item, names) for key, item in value.items()}
    return value
