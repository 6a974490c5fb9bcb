"""For each crash point how it is reached: what clients or a command do until one dies of it."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from quetz.testing.crashes import clients, damages
from quetz.testing.crashes.driver import (
    CHANNEL,
    SUBDIR,
    Act,
    CrashFailure,
    Driver,
    database_of,
    fsck,
)
from quetz.testing.crashes.histories import Change, Place, State, hash_of

_CHORES = "quetz.testing.crashes.chores"


def _nothing(_driver: Driver) -> None:
    """Need no preparation."""


@dataclass(frozen=True)
class Scenario:
    """How the points are reached.

    With a healthy server running it is prepared, without one arranged. Then clients act upon a
    server that shall die, or a ``command`` shall. A command that is ``first`` is run again before
    a server is started, any other beside it. ``verified`` is what has to hold besides.
    """

    points: tuple[str, ...]
    prepare: Act = _nothing
    arrange: Act = _nothing
    act: Act | None = None
    command: Callable[[Driver], list[str]] | None = None
    first: bool = False
    verify: Act = _nothing
    database: str = ""
    hits: int = 1

    def crash(self, driver: Driver, point: str) -> bool:
        """Let the point be reached; say whether it was. No server runs before and after."""
        self.arrange(driver)
        hits = driver.random.randint(1, self.hits)
        if self.command is None:
            return driver.crash_server(point, self.act, hits)
        driver.last_command = self.command(driver)
        landed = driver.crash_command(point, driver.last_command, hits)
        if self.first:
            driver.run_again()
        return landed

    def check(self, driver: Driver, *, full: bool = False) -> None:
        """Check what is left, with a server running.

        Raises:
            CrashFailure: saying what is lost or broken.
        """
        driver.check(full=full)
        if self.command is not None:
            if not self.first:
                driver.run_again()
            driver.check(full=full)
        self.verify(driver)


def _chore(name: str) -> Callable[[Driver], list[str]]:
    return lambda driver: [_CHORES, name, str(driver.path)]


def _quetz(*words: str) -> Callable[[Driver], list[str]]:
    return lambda driver: ["quetz", *(word.format(path=driver.path) for word in words)]


def _import_folder(driver: Driver) -> list[str]:
    folder = driver.scratch / f"static{driver.number()}"
    (folder / SUBDIR).mkdir(parents=True)
    for _ in range(3):
        filename, data = driver.new_file()
        (folder / SUBDIR / filename).write_bytes(data)
        after = {Place(CHANNEL, SUBDIR, filename): State(hash_of(data))}
        driver.history.unanswered.append(Change(None, after))
    return ["quetz", "import", str(folder), CHANNEL, str(driver.path)]


def _export_folder(driver: Driver) -> list[str]:
    folder = driver.scratch / "exported"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / SUBDIR).mkdir(parents=True)
    (folder / SUBDIR / "gone-1.0-0.conda").write_bytes(b"gone")
    command = ["quetz", "export", CHANNEL, str(folder), str(driver.path)]
    return [*command, "--force", "--delete"]


def _verify_export(driver: Driver) -> None:
    folder = driver.scratch / "exported" / SUBDIR
    document = msgspec.json.decode((folder / "repodata.json").read_bytes())
    listed = {name: row["sha256"] for name, row in document["packages.conda"].items()}
    files = {path.name: hash_of(path.read_bytes()) for path in folder.glob("*.conda")}
    # What is yanked is there, and named as removed.
    found = {name: digest for name, digest in files.items() if name not in document["removed"]}
    if listed != found:
        raise CrashFailure(f"an export differs in {sorted(listed.items() ^ found.items())[:4]}")


def _create_another(driver: Driver) -> list[str]:
    path = driver.path.with_name(f"{driver.path.name}-created")
    shutil.rmtree(path, ignore_errors=True)
    database = database_of(driver.path)
    if database.get_backend_name() == "postgresql":
        path.mkdir()
        url = driver.new_database(database)
        text = f'[sqlalchemy]\ndatabase_url = "{url.render_as_string(hide_password=False)}"\n'
        (path / "config.toml").write_text(text)
    return ["quetz", "create", str(path)]


def _verify_creation(driver: Driver) -> None:
    path = driver.path.with_name(f"{driver.path.name}-created")
    if faults := fsck(path):
        raise CrashFailure(f"fsck of what was created: {faults}")


def _lose_database(driver: Driver) -> None:
    driver.run_well("quetz", "migrations", "backup", str(driver.path))
    Path(str(database_of(driver.path).database)).write_bytes(b"lost")


def _back_up(driver: Driver) -> None:
    driver.run_well("quetz", "migrations", "backup", str(driver.path))


_BACKUP = _quetz("migrations", "backup", "{path}")
_WHOLE_BACKUP = _quetz("backup", "{path}-backups", "{path}")
_RESTORE = _quetz("migrations", "restore", "{path}", "latest", "--yes")

SCENARIOS: Mapping[str, Scenario] = {
    "upload": Scenario(
        (
            "stage.written",
            "upload.received",
            "put.staged",
            "put.durable",
            "put.renamed",
            "upload.stored",
            "upload.recording",
            "upload.recorded",
            "transaction.committing",
            "transaction.committed",
        ),
        act=clients.upload,
        hits=4,
    ),
    "upload to a bounded channel": Scenario(("upload.reserved",), act=clients.upload_bounded),
    "upload of a known object": Scenario(("upload.touched",), act=clients.upload_again),
    "form": Scenario(("upload.storing",), act=clients.upload_form, hits=3),
    "overwrite": Scenario(("upload.replacing",), act=clients.overwrite, hits=3),
    "delete a file": Scenario(("file.deleting",), act=clients.delete_file, hits=3),
    "delete a package": Scenario(("package.deleting",), act=clients.delete_package, hits=2),
    "delete a channel": Scenario(("channel.deleting",), act=clients.delete_channel),
    "copy": Scenario(("copy.recorded",), act=clients.copy, hits=3),
    "yank": Scenario(("yank.changing",), act=clients.yank_and_restore, hits=4),
    "publish": Scenario(
        (
            "publish.read",
            "publish.documents",
            "index.written",
            "publish.built",
            "publish.flipping",
            "publish.flipped",
        ),
        act=clients.upload,
        hits=4,
    ),
    "hotfixes": Scenario(("patches.applying", "patches.shown"), act=clients.fix),
    "seal": Scenario(("seal.sealing", "seal.sealed"), act=clients.upload, hits=2),
    "download": Scenario(("tally.writing",), act=clients.download),
    "start": Scenario(("start.opened", "start.worker")),
    "import": Scenario(
        (
            "put_many.durable",
            "put_many.renamed",
            "import.stored",
            "import.recording",
            "import.recorded",
        ),
        command=_import_folder,
    ),
    "export": Scenario(
        ("export.copied", "export.replacing", "export.replaced", "export.deleting"),
        command=_export_folder,
        verify=_verify_export,
    ),
    "collect": Scenario(
        (
            "collect.removing",
            "collect.removed",
            "collect.adopting",
            "collect.leftovers",
            "collect.reservations",
        ),
        prepare=damages.delete_a_file,
        arrange=damages.leave_things_behind,
        command=_quetz("gc", "{path}", "--grace-days", "0"),
    ),
    "superseded": Scenario(
        ("supersede.removing",),
        prepare=clients.supersede_often,
        arrange=damages.grow_old,
        command=_chore("collect"),
    ),
    "improve": Scenario(("improve.read",), arrange=damages.grow_old, command=_chore("improve")),
    "zip": Scenario(("gzip.written",), command=_chore("zip")),
    "mend": Scenario(
        ("mend.marking",), arrange=damages.tear_an_index, command=_chore("mend"), first=True
    ),
    "forget hours": Scenario(
        ("forget.hours",), arrange=damages.add_old_counts, command=_chore("forget-hours")
    ),
    "forget keys": Scenario(
        ("forget.keys",), arrange=damages.add_dead_key, command=_chore("forget-keys")
    ),
    "repair": Scenario(
        ("repair.applying", "repair.applied"),
        arrange=damages.miscount,
        command=_quetz("fsck", "{path}", "--repair"),
        first=True,
    ),
    "create": Scenario(
        ("migrate.applied", "migrate.recorded", "create.built", "create.moved"),
        command=_create_another,
        first=True,
        verify=_verify_creation,
    ),
    "backup": Scenario(("backup.described", "backup.named"), command=_BACKUP),
    "backup of SQLite": Scenario(("backup.copying",), command=_BACKUP, database="sqlite"),
    "backup of PostgreSQL": Scenario(("backup.dumped",), command=_BACKUP, database="postgresql"),
    "restore": Scenario(("restore.begun",), arrange=_back_up, command=_RESTORE, first=True),
    "restore to SQLite": Scenario(
        ("restore.copying",), arrange=_back_up, command=_RESTORE, first=True, database="sqlite"
    ),
    "restore to PostgreSQL": Scenario(
        ("restore.piped",), arrange=_back_up, command=_RESTORE, first=True, database="postgresql"
    ),
    "restore of what is lost": Scenario(
        ("restore.copied",), arrange=_lose_database, command=_RESTORE, first=True, database="sqlite"
    ),
    "back up a deployment": Scenario(
        (
            "backing.database",
            "backing.copying",
            "backing.objects",
            "backing.written",
            "backing.finished",
        ),
        command=_WHOLE_BACKUP,
    ),
    "restore a deployment": Scenario(
        (
            "restoring.marked",
            "restoring.copying",
            "restoring.objects",
            "restoring.database",
            "restoring.migrated",
            "restoring.begun",
        ),
        arrange=lambda driver: driver.run_well(*_WHOLE_BACKUP(driver)),
        command=_quetz("restore", "{path}-backups", "{path}", "--yes"),
        first=True,
    ),
}


def points_of(backend: str) -> list[tuple[Scenario, str]]:
    """Return each point that can be reached on a kind of database, with its scenario."""
    return [
        (scenario, point)
        for scenario in SCENARIOS.values()
        if scenario.database in {"", backend}
        for point in scenario.points
    ]


def crash_at_each(
    driver: Driver, plan: Iterable[tuple[Scenario, str]]
) -> Iterator[tuple[str, bool, str]]:
    """Yield each point, whether it was reached, and what was wrong after it, if anything was.

    Two starts of a server for each: one that dies, one that is checked, and prepares the next.
    """
    rounds = list(plan)
    followers = [scenario for scenario, _ in rounds[1:]]
    with driver.serving():
        for channel in (CHANNEL, clients.OTHER, clients.FIXED):
            driver.make_channel(channel)
        driver.make_channel(clients.BOUNDED, size_limit=1 << 40)
        clients.upload(driver)
        rounds[0][0].prepare(driver)
        driver.become_quiet()
    for number, (scenario, point) in enumerate(rounds):
        fault = ""
        landed = False
        try:
            landed = scenario.crash(driver, point)
            with driver.serving():
                scenario.check(driver, full=number == len(rounds) - 1)
                if number < len(followers):
                    followers[number].prepare(driver)
                    driver.become_quiet()
        except Exception as error:  # noqa: BLE001 - whatever fails after a crash is a finding
            fault = f"{type(error).__name__}: {error}"
            driver.accept()
        yield point, landed, fault
