"""REL-7: whatever a path says, nothing from outside is answered, written or removed."""

import json
import random
import re
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.security.places import CHANNEL, Place, file_form, package, running

STRINGS = 100_000
PIECES = [
    "..", ".", "%2e%2e", "%2E.", "%252e%252e", "..%2f", "..%5c", "\\..\\", "%5c..%5c", "/", "//",
    "%2f", "%252f", "%00", "%0a", "%0d%0a", "\x7f", "%e2%80%a4%e2%80%a4", "%ef%bc%8e%ef%bc%8e",
    "%c0%ae%c0%ae", "%c0%af", "%ff", "\xff\xfe", "\xc3\xa9", ";", "?", "#", "&", "~", "C:",
    "C:%5c", "file:", "http://localhost/", "etc/passwd", "%2fetc%2fpasswd", "proc/self/environ",
    "canary.txt",
    "config.toml", "quetz.sqlite", "store", "objects", "staging", CHANNEL, "noarch", "linux-64",
    "repodata.json", "pkg-1.0-0.conda", "{canary}", "t/x", "*", "%", "%zz", "%u002e", "..;", "@",
]  # fmt: skip
DEEP = ["../" * 40, "%2e%2e%2f" * 30, "a" * 300, "/" * 200, "..%252f" * 20]
_PARAMETER = re.compile(r"\{[^}]+\}")
_OWN = re.compile(
    r"objects/[0-9a-f]{2}/[0-9a-f]{64}|staging/[0-9a-f]{32}/\w+"
    r"|index/\d+/(_channel|noarch)/([0-9a-f]{64}|[a-z_]+-\d+-[0-9a-f]{8})\.[a-z.]+"
)
_SOUND = {"channel": CHANNEL, "package": "pkg", "platform": "noarch", "filename": "pkg-1.0-0.conda"}


def measure(scale: float, folder: Path) -> list[Figure]:
    marker = f"canary-{secrets.token_hex(16)}"
    outside = folder / "canary.txt"
    with running(folder / "server") as place:
        canaries = _lay_out(place, outside, marker)
        before = _files(folder, place)
        faults = list(_attack(place, int(STRINGS * scale), marker.encode(), outside))
        faults += [f"{path} changed" for path in canaries if marker not in path.read_text()]
        faults += [f"{path} came or went" for path in _files(folder, place) ^ before]
        faults += _odd_objects(place)
    print(*faults[:20], sep="\n", end="\n" if faults else "", flush=True)
    name = "REL-7 hostile paths that were answered with bytes from outside, with 5xx, or left files"
    return [Figure(name, [len(faults)], "faults", 0, f"{int(STRINGS * scale)} paths by raw socket")]


def _lay_out(place: Place, outside: Path, marker: str) -> list[Path]:
    """Put what must not be read where a path could lead to, and one sound package."""
    with (place.deployment / "config.toml").open("a") as config:
        config.write(f"# {marker}\n")
    store = place.deployment / "store"
    canaries = [outside, place.deployment / "canary.txt", store / "canary.txt"]
    canaries += [store / "objects" / "canary.txt", store / "objects" / "00" / "canary.txt"]
    for path in canaries:
        path.write_text(marker)
    name, content = package(place.deployment.parent)
    assert place.ask("POST", f"/api/channels/{CHANNEL}/upload/{name}", content).status == 201
    hidden = {"name": "hidden", "private": True, "description": marker}
    assert place.post_json("/api/channels", hidden).status == 201
    return [*canaries, place.deployment / "config.toml"]


def _files(folder: Path, place: Place) -> set[Path]:
    """Return all files but those that the server may write at any time."""
    ours = ("quetz.sqlite-wal", "quetz.sqlite-shm")
    folders = {place.deployment / "store", place.deployment / "locks"}
    return {
        path
        for path in folder.rglob("*")
        if not path.is_dir() and path.name not in ours and not folders & {*path.parents}
    }


def _odd_objects(place: Place) -> Iterator[str]:
    """Yield what lies in the store under a name that is not the server's own."""
    store = place.deployment / "store"
    for path in store.rglob("*"):
        known = path.is_dir() or path.name == "canary.txt"
        if path.is_symlink() or not (known or _OWN.fullmatch(str(path.relative_to(store)))):
            yield f"{path} is in the store"


def _attack(place: Place, count: int, marker: bytes, outside: Path) -> Iterator[str]:
    chance = random.Random(7)
    templates = [*_templates(place)]
    wire = Wire(place.port)
    for number in range(count):
        method, template = templates[number % len(templates)]
        path = _filled(template, chance, str(outside))
        body, kind = b"", ""
        if method == "POST":
            body, kind = _body(template, chance, str(outside))
        head = _head(method, path, place.key if number % 2 else "", len(body), kind)
        answer = wire.ask(head + body)
        if marker in answer:
            yield f"{method} {path!r} was answered with a canary"
        status = re.match(rb"HTTP/1.1 (\d+)", answer)
        if status is not None and status[1] >= b"500":
            yield f"{method} {path!r} {body[:200]!r} was answered {status[1].decode()}"
    wire.close()
    if place.ask("GET", "/health/ready").status != 200:
        yield "the server is not ready any more"


def _templates(place: Place) -> Iterator[tuple[str, str]]:
    """Yield each route that has a path to fill, with its method, and more often those of files."""
    described = place.ask("GET", "/openapi.json").json()
    for path, operations in described["paths"].items():
        for method in operations:
            if "{" in path:
                yield method.upper(), path
    for path in ("/get/{channel}/{platform}/{filename}", "/get/{a}", "/get/{channel}/{b}"):
        for prefix in ("", "/t/{token}", f"/t/{place.key}"):
            yield "GET", prefix + path
            yield "HEAD", prefix + path
    yield "GET", "/{anything}"
    yield "GET", "{anything}"
    yield "POST", "/api/channels"
    yield "POST", f"/api/channels/{CHANNEL}/files/"


def _filled(template: str, chance: random.Random, outside: str) -> str:
    """Put a hostile text in the place of one parameter, or of each, and sound ones elsewhere."""
    names = _PARAMETER.findall(template)
    hostile = {chance.choice(names)} if names and chance.random() < 0.7 else set(names)

    def fill(match: re.Match[str]) -> str:
        if match[0] in hostile:
            return _hostile(chance, outside)
        return _SOUND.get(match[0][1:-1], "x")

    return _PARAMETER.sub(fill, template)


def _hostile(chance: random.Random, outside: str) -> str:
    pieces = [chance.choice(PIECES) for _ in range(chance.randint(1, 8))]
    if chance.random() < 0.1:
        pieces.insert(0, chance.choice(DEEP))
    return chance.choice(["", "/"]).join(pieces).replace("{canary}", outside)


def _body(template: str, chance: random.Random, outside: str) -> tuple[bytes, str]:
    text = _hostile(chance, outside).replace('"', "")
    if template.endswith("/files/"):
        body, kind = file_form(f"{text}-1.0-0.conda", b"PK")
        return body, kind
    if "upload" in template:
        return b"PK", ""
    values = {"name": text, "username": text, "url": text, "role": "member", "description": text}
    return json.dumps(
        {"name": values["name"]} if template == "/api/channels" else values
    ).encode(), ""


def _head(method: str, path: str, key: str, length: int, kind: str) -> bytes:
    path = re.sub(r"[\r\n ]", "%20", path)  # they would end the request line
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {length}"]
    lines += [f"X-API-Key: {key}"] if key else []
    lines += [f"Content-Type: {kind}"] if kind else []
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


class Wire:
    """A connection that is opened anew whenever the server closes it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def ask(self, request: bytes) -> bytes:
        """Return all of the answer; nothing if the server hung up without one."""
        head_only = request.startswith(b"HEAD")
        for _ in range(2):  # a connection that was kept may just have been closed
            kept = self._socket is not None
            wire = self._socket = self._socket or self._open()
            try:
                wire.sendall(request)
                answer = _receive(wire, head_only=head_only)
            except OSError:
                answer = b""
            if answer and b"\r\nconnection: close" not in answer.lower():
                return answer
            self.close()
            if answer or not kept:
                return answer
        return b""

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _open(self) -> socket.socket:
        wire = socket.create_connection(("127.0.0.1", self._port), timeout=30)
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return wire


def _receive(wire: socket.socket, *, head_only: bool) -> bytes:
    data = bytearray()
    while (end := data.find(b"\r\n\r\n")) < 0:
        more = wire.recv(1 << 16)
        if not more:
            return bytes(data)
        data += more
    length = re.search(rb"\r\ncontent-length: *(\d+)", data[:end], re.IGNORECASE)
    if length is None or head_only or bytes(data[9:12]) in {b"304", b"204"}:
        return bytes(data)
    while len(data) < end + 4 + int(length[1]):
        more = wire.recv(1 << 16)
        if not more:
            break
        data += more
    return bytes(data)
