"""MIG-7: backup, check and restore of a database of 700 MB; a flipped byte is found."""

import random
import time
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.migrations.databases import connected, state_of, url_of
from quetz.db.engine import open_engine
from quetz.errors.migrations import BackupUnsound
from quetz.migrations.backups import Backups

FLIPS = 20


def measure(deployment: Path, folder: Path, rounds: int) -> list[Figure]:
    engine = open_engine(url_of(deployment))
    megabytes = (deployment / "quetz.sqlite").stat().st_size / 1e6
    seconds, restores = [], []
    for number in range(rounds):
        backups = Backups(folder / f"backups-{number}")
        started = time.monotonic()
        file = backups.take(engine, None, [])
        seconds.append((time.monotonic() - started) * 700 / megabytes)
    before = state_of(deployment)
    _change(deployment)
    for _ in range(1):
        started = time.monotonic()
        backups.restore(engine, backups.find(str(file)))
        restores.append(time.monotonic() - started)
    engine.dispose()
    differing = [0 if state_of(deployment) == before else 1]
    return [
        Figure(
            "MIG-7 backup with its check, for 700 MB",
            seconds,
            "s",
            5,
            f"measured on {megabytes:.0f} MB",
        ),
        Figure("MIG-7 restored databases that differ", differing, "databases", 0),
        Figure("MIG-7 restore of it", restores, "s", None, "with a backup of what was there"),
        Figure("MIG-7 flipped bytes not found", [_unfound(backups, file)], f"of {FLIPS}", 0),
    ]


def _change(deployment: Path) -> None:
    with connected(deployment) as connection:
        connection.exec_driver_sql("DELETE FROM files WHERE id % 3 = 0")
        connection.exec_driver_sql("CREATE TABLE later (id INTEGER)")


def _unfound(backups: Backups, file: Path) -> int:
    chance = random.Random(1)
    unfound = 0
    for _ in range(FLIPS):
        place = chance.randrange(file.stat().st_size)
        _flip(file, place)
        try:
            backups.verify(file)
            unfound += 1
        except BackupUnsound:
            pass
        _flip(file, place)
    backups.verify(file)
    return unfound


def _flip(file: Path, place: int) -> None:
    with file.open("r+b") as opened:
        opened.seek(place)
        byte = opened.read(1)
        opened.seek(place)
        opened.write(bytes([byte[0] ^ 1]))
