"""The folder of the store (I15)."""

from collections.abc import Iterator

from quetz.deployment import STORE_FOLDER
from quetz.storage.strangers import find_strangers
from quetz.worker.checks.findings import Finding, Ground, Severity


def check_store(ground: Ground) -> Iterator[Finding]:
    """I15: nothing in the store is a link, writable for everybody, or of an unknown name."""
    for name, reason in find_strangers(ground.deployment.path / STORE_FOLDER):
        advice = "find out who made it; take it away, or the right to write to it"
        yield Finding("I15", Severity.ERROR, f"{STORE_FOLDER}/{name}", reason, advice)
