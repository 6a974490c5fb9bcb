"""REL-6: what the description of the API says is what the server does, and nothing breaks it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure
from benchmarks.security.places import CHANNEL, SECRET_CHANNEL, Place, package, running

EXAMPLES = 100
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance"
)


# What there is by these names of parameters: without them, most requests would end in a 404.
KNOWN = {
    "channel": [CHANNEL, SECRET_CHANNEL],
    "package": ["pkg"],
    "platform": ["noarch"],
    "filename": ["pkg-1.0-0.conda"],
    "username": ["alice", "bob", "member"],
}


@dataclass(frozen=True)
class _Outcome:
    failures: list[str]
    operations: int
    requests: int


def measure(scale: float, folder: Path) -> Iterator[Figure]:
    examples = max(5, int(EXAMPLES * scale))
    for who in ("anonymous", "member", "owner"):
        with running(folder / who) as place:
            _fill(place)
            key = {"anonymous": "", "member": _member(place), "owner": place.key}[who]
            outcome = _run(place, key, examples, folder)
            failures = outcome.failures + _faults(place)
        print(*failures[:40], sep="\n", end="\n" if failures else "", flush=True)
        basis = f"{outcome.requests} requests to {outcome.operations} operations"
        title = f"REL-6 {who}: kinds of answers that are 5xx, or not as the description says"
        yield Figure(title, [len(failures)], "failures", 0, basis)


def _fill(place: Place) -> None:
    """Upload what the generated requests can find."""
    name, content = package(place.deployment.parent)
    for channel in (CHANNEL, SECRET_CHANNEL):
        path = f"/api/channels/{channel}/upload/{name}"
        assert place.ask("POST", path, content).status == 201


def _member(place: Place) -> str:
    key = place.make_key("member", "member")
    body = {"username": "member", "role": "maintainer"}
    assert place.post_json(f"/api/channels/{CHANNEL}/members", body).status == 201
    return key


def _faults(place: Place) -> list[str]:
    """Look into the log for faults that the server met and answered."""
    faults = place.log.read_text(errors="replace").count("a fault of the server")
    return [f"the log tells of {faults} faults"] if faults else []


def _describe(place: Place) -> dict[str, Any]:
    """Return the description, with names in it that there are; but not for what deletes them."""
    described: dict[str, Any] = place.ask("GET", "/openapi.json").json()
    for methods in described["paths"].values():
        for method, operation in methods.items():
            for parameter in operation.get("parameters", []) if method != "delete" else []:
                if parameter["in"] == "path" and parameter["name"] in KNOWN:
                    there = {"enum": KNOWN[parameter["name"]]}
                    parameter["schema"] = {"anyOf": [there, there, parameter["schema"]]}
    return described


def _run(place: Place, key: str, examples: int, folder: Path) -> _Outcome:
    described, report = folder / "openapi.json", folder / "report.json"
    described.write_text(json.dumps(_describe(place)))
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "run", str(described), "--url", f"http://localhost:{place.port}",
        "--checks", CHECKS, "--max-examples", str(examples), "--seed", "1", "--no-shrink",
        "--continue-on-failure", "--request-timeout", "60", "--generation-database", "none",
        "--suppress-health-check", "all", "--warnings", "off", "--no-color",
        "--report", "json", "--report-json-path", str(report),
    ]  # fmt: skip
    if key:
        command += ["-H", f"X-API-Key: {key}"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    if not report.exists():
        raise RuntimeError(f"schemathesis failed: {ended.stdout[-3000:]}{ended.stderr[-3000:]}")
    (folder.parent / f"{folder.name}.log").write_text(ended.stdout)
    read = json.loads(report.read_text())
    report.unlink()
    failures = [
        f"{failure['title']} in {operation}"
        for failure in read["failures"]
        for operation in failure["operations"]
    ]
    failures += [f"not run: {error}" for error in read["errors"]]
    return _Outcome(failures, read["operations"]["tested"], read["test_cases"]["generated"])
