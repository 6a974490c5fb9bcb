"""Malformed requests around sound packages: forms, and parameters of uploads."""

import hashlib
from collections.abc import Callable, Iterator
from urllib.parse import quote

from benchmarks.security.places import CHANNEL, Place, Reply, file_form, form, package

_HEAD = 'Content-Disposition: form-data; name="files"; filename="{}"'
_KIND = "multipart/form-data; boundary=quetz"
_FORMS = f"/api/channels/{CHANNEL}/files/"
Case = tuple[str, Reply]


def forms(place: Place) -> Iterator[Case]:
    """Yield how malformed forms are answered, by name."""
    name, content = package(place.deployment.parent)
    sound, _ = file_form(name, content)
    head = _HEAD.format(name)
    bodies = {
        "empty": b"",
        "only-an-end": b"--quetz--\r\n",
        "no-end": sound[: -len(b"--quetz--\r\n")],
        "cut-in-content": sound[: len(sound) // 2],
        "cut-in-header": sound[:40],
        "no-name": form("quetz", (head.replace('name="files"; ', ""), content)),
        "no-disposition": form("quetz", ("X-Other: 1", content)),
        "no-header": form("quetz", ("", content)),
        "other-boundary": sound.replace(b"quetz", b"other"),
        "bare-newlines": sound.replace(b"\r\n", b"\n"),
        "bytes-before": b"before" + sound,
        "huge-header": form("quetz", (f"{head}\r\nX-Large: {'x' * 100_000}", content)),
        "header-without-colon": form("quetz", (f"{head}\r\nnonsense", content)),
        "header-with-nul": form("quetz", (f"{head}\r\nX-Nul: \0", content)),
        "many-headers": form(
            "quetz", ("\r\n".join([head, *["X-A: 1"] * 5000, ""]) + "X-B: 2\0", content)
        ),
        "empty-file-name": form("quetz", (_HEAD.format(""), content)),
        "path-in-name": form("quetz", (_HEAD.format(f"../{name}"), content)),
        "nul-in-name": form("quetz", (_HEAD.format("pkg-1.0-0\0.conda"), content)),
        "name-in-utf7": form("quetz", (_HEAD.format("+AHA-kg-1.0-0.conda"), content)),
        "name-unquoted-end": form("quetz", (head[:-1], content)),
        "field-only": form("quetz", ('Content-Disposition: form-data; name="force"', b"true")),
        "large-field": form(
            "quetz", ('Content-Disposition: form-data; name="a"', b"x" * 10_000), (head, content)
        ),
        "force-maybe": form(
            "quetz", ('Content-Disposition: form-data; name="force"', b"maybe"), (head, content)
        ),
        "one-sound-one-broken": form(
            "quetz", (head, content), (_HEAD.format("b-1-0.conda"), b"PK")
        ),
        "two-of-one-name": form("quetz", (head, content), (head, content + b"\0")),
        "many-fields": form(
            "quetz",
            *[(f'Content-Disposition: form-data; name="f{n}"', b"") for n in range(200)],
            (head, content),
        ),
        "many-files": form(
            "quetz", *[(_HEAD.format(f"p{n}-1-0.conda"), b"") for n in range(1_100)]
        ),
    }
    for case, body in bodies.items():
        yield f"form-{case}", place.ask("POST", _FORMS, body, Content_Type=_KIND)
    kinds = (
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "text/plain",
        "multipart/mixed; boundary=quetz",
        "\xff",
        "multipart/form-data; boundary=" + "x" * 5000,
    )
    for kind in kinds:
        yield f"form-as-{kind[:40]!r}", place.ask("POST", _FORMS, sound, Content_Type=kind)


def parameters(place: Place) -> Iterator[Case]:
    """Yield how uploads with malformed parameters are answered, by name."""
    name, content = package(place.deployment.parent)
    digest = hashlib.sha256(content).hexdigest()
    wrong = {
        "other": "0" * 64,
        "short": digest[:-1],
        "long": digest + "0",
        "empty": "",
        "no-hex": "g" * 64,
        "spaced": f" {digest[1:]}",
        "newline": f"{digest}\n",
        "nul": f"{digest[:-1]}\0",
        "md5": hashlib.md5(content).hexdigest(),
        "prefixed": f"sha256:{digest}",
        "wide-digits": "\uff10" * 64,
        "huge": "0" * 5_000,
        "sha512": "0" * 128,
    }
    for case, value in wrong.items():
        yield f"sha256-{case}", _send(place, name, content, f"sha256={quote(value)}")
    yield "sha256-of-nothing", _send(place, name, b"", f"sha256={digest}")
    for value in (
        "maybe",
        "2",
        "",
        "None",
        "[]",
        "tru\u0435",
        "-1",
        "1.0",
        "true,false",
        "x" * 5_000,
    ):
        yield f"force-{value[:20]!r}", _send(place, name, content, f"force={quote(value)}")
    for other in ("pkg-1.0-1.conda", "pkg-1.0-0.tar.bz2", "other-1.0-0.conda", "pkg-1.0.0-0.conda"):
        yield f"called-{other}", _send(place, other, content, "")


def _send(place: Place, name: str, content: bytes, query: str) -> Reply:
    path = f"/api/channels/{CHANNEL}/upload/{name}"
    return place.ask("POST", f"{path}?{query}" if query else path, content)


CASES: dict[str, Callable[[Place], Iterator[Case]]] = {
    "multipart form": forms,
    "hash, size and force": parameters,
}
