"""What can go wrong with a schema, its migrations and its backups."""

from collections.abc import Collection, Mapping, Sequence
from shlex import quote

from quetz.errors import Conflict, DatabaseUnreadable, Invalid, Unavailable


class SchemaBehind(Unavailable):
    def __init__(self, path: object) -> None:
        super().__init__(
            f"the database of '{path}' needs migrations first; "
            f"run: quetz init-db {quote(str(path))}"
        )


class MigrationsMissing(SchemaBehind):
    """A check found nothing but that migrations are missing."""

    def __init__(self, count: int, path: object) -> None:
        Unavailable.__init__(self, f"{_missing(count, path)}; nothing else is wrong")


class NoSchema(DatabaseUnreadable):
    """PostgreSQL has no schema for the tables."""

    def __init__(self) -> None:
        Unavailable.__init__(
            self,
            "no schema of the role's search_path exists in the database, or the role may not use "
            "it; make it with CREATE SCHEMA, or name another with ALTER ROLE ... SET search_path",
        )


class SchemaUnknown(Unavailable):
    """The database holds revisions or tables that this version does not know."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"the database holds {what}, which this version of quetz does not know: it is of "
            "another version, or of a plugin that is not installed or enabled; "
            "it was left untouched"
        )

    @property
    def seen(self) -> str:
        """What was found; who only looks need not be told that nothing was touched."""
        return str(self).rpartition("; ")[0]


class SchemaAhead(SchemaUnknown):
    """Revisions are applied that are newer than the software.

    ``revisions`` has their messages, ``versions`` are those of the software that applied them.
    """

    def __init__(
        self, owner: str, revisions: Mapping[str, str], versions: Collection[str], installed: str
    ) -> None:
        if set(versions) == {installed}:
            named = ", ".join(f"{one} ({message})" for one, message in revisions.items())
            files = "its file" if len(revisions) == 1 else "their files"
            put = "it" if len(revisions) == 1 else "them"
            lacks = f"the installed {installed} lacks {files}; put {put} back"
            why = f"{named} was applied, and {lacks}"
        else:
            needed = f"{owner} {' or '.join(sorted(versions))}, or newer"
            why = f"{', '.join(revisions)} was applied by another version of it; install {needed}"
        Unavailable.__init__(
            self,
            f"the database is ahead of '{owner}': {why}, or restore a backup; "
            "the database was left untouched",
        )


class SchemaChanged(Unavailable):
    """The schema changed under a running server."""

    def __init__(self) -> None:
        super().__init__(
            "the database was migrated while this server ran, so it takes no changes; "
            "it has to be restarted with the software that fits the database"
        )


class MigrationFailed(Conflict):
    """A migration was rolled back; ``stands_at`` are the revisions the database is left at."""

    def __init__(self, migration: str, reason: str, stands_at: Collection[str]) -> None:
        self.migration, self.reason = migration, reason
        place = ", ".join(sorted(stands_at)) or "no revision"
        super().__init__(
            f"migration '{migration}' failed and was rolled back: {reason}; "
            f"the database stands at {place}"
        )


class MigrationUncertain(MigrationFailed):
    """The connection was lost before the database told whether it had committed."""

    def __init__(self, migration: str, reason: str) -> None:
        self.migration, self.reason = migration, reason
        Conflict.__init__(
            self,
            f"the connection was lost while migration '{migration}' was committed: {reason}; the "
            "database stands at it or before it, as quetz migrations status tells; run quetz "
            "init-db again, which goes on from there",
        )


class MigrationUnfit(MigrationFailed):
    """A migration failed where it is only tried out, in a scratch database on ``place``."""

    def __init__(self, migration: str, reason: str, place: str) -> None:
        self.migration, self.reason = migration, reason
        Conflict.__init__(
            self,
            f"migration '{migration}' failed in a scratch database on {place}: {reason}; "
            "your database was left alone; mend the migration",
        )


class MigrationHalfDone(Conflict):
    """A migration that runs outside a transaction failed: what it did before stays."""

    def __init__(self, migration: str, reason: str, stands_at: Collection[str]) -> None:
        place = ", ".join(sorted(stands_at)) or "no revision"
        super().__init__(
            f"migration '{migration}' failed and could not be rolled back, since it runs outside "
            f"a transaction: {reason}; the database stands at {place}; remove the cause and run "
            "quetz init-db again, which repeats the migration"
        )


class MigrationSplit(MigrationHalfDone):
    """A migration ended its transaction itself: what was done before may stay."""

    def __init__(self, migration: str, reason: str, stands_at: Collection[str]) -> None:
        place = ", ".join(sorted(stands_at)) or "no revision"
        Conflict.__init__(
            self,
            f"migration '{migration}' ended its transaction itself and failed: {reason}; what it "
            f"did before may be committed, and the database stands at {place}; mend the migration "
            "and restore a backup, or undo by hand what it did",
        )


class MigrationLocked(Unavailable):
    def __init__(self, seconds: float, holder: str = "") -> None:
        super().__init__(
            f"{holder or 'somebody else'} has been migrating the database for {seconds:g} "
            "seconds; try again when that has ended, or wait longer with --lock-timeout"
        )


class PostgreSQLUnseen(Unavailable):
    """A check could look at SQLite alone."""

    def __init__(self, owner: str) -> None:
        super().__init__(
            f"the models of '{owner}' need no migration on SQLite, but could not be compared on "
            "PostgreSQL, as the warning says; let quetz reach the deployment's database and make "
            "schemas in it, or check with a deployment on SQLite"
        )


class MigrationUnsound(Invalid):
    """A migration that was written did not do what it should; it is gone again."""

    def __init__(self, owner: str, reason: str) -> None:
        super().__init__(f"no migration was made for '{owner}': {reason}")


class RevisionNotFound(Invalid):
    def __init__(self, revision: str, reason: str) -> None:
        super().__init__(f"revision '{revision}' {reason}")


class SchemaDrifted(Conflict):
    """The database's tables are not as its migrations make them."""

    def __init__(self, count: int) -> None:
        things = "difference" if count == 1 else "differences"
        super().__init__(f"the database has {count} {things} from what its migrations make")


class MigrationNeeded(SchemaDrifted):
    """The models have what no migration makes; ``differences`` are in words."""

    def __init__(self, owner: str, differences: Sequence[str]) -> None:
        Conflict.__init__(
            self,
            f"the models of '{owner}' need a migration: {'; '.join(differences)}; "
            "make it with quetz make-migrations, and review it",
        )
        self.differences = tuple(differences)


class MigrationEdited(Conflict):
    """Migrations were changed after they had been applied."""

    def __init__(self, revisions: Collection[str]) -> None:
        names = ", ".join(sorted(revisions))
        super().__init__(
            f"migrations were edited after they had been applied: {names}; "
            "put back the files as they were, and make a new migration for the change"
        )


class VerificationFailed(Conflict):
    """The work of migrations was found wrong before its commit, and was rolled back."""

    def __init__(self, reason: str, stands_at: Collection[str]) -> None:
        self.reason = reason
        place = ", ".join(sorted(stands_at)) or "no revision"
        super().__init__(
            f"the migrated database was found wrong and was rolled back: {reason}; "
            f"the database stands at {place}"
        )


class BackupFailed(Unavailable):
    """No backup could be made, so nothing was migrated; ``way_out`` is how to go on."""

    def __init__(self, reason: str, way_out: str = "") -> None:
        self.reason = reason
        hint = f" ({way_out})" if way_out else ""
        super().__init__(f"no backup could be made: {reason}; nothing was changed{hint}")


class BackupToolMissing(BackupFailed):
    """There is no means to make a backup of this database."""


class BackupUnsound(Invalid):
    """A backup is damaged, or is none."""

    def __init__(self, backup: object, reason: str) -> None:
        super().__init__(f"the backup '{backup}' cannot be used: {reason}")


class RestoreFailed(Conflict):
    def __init__(self, backup: object, reason: str) -> None:
        super().__init__(f"the backup '{backup}' was not restored: {reason}")


class PluginsSkipped(Conflict):
    """All was migrated but the plugins named; ``reasons`` has a sentence for each."""

    def __init__(self, reasons: Collection[str]) -> None:
        super().__init__(f"done, except for plugins that are broken: {'; '.join(reasons)}")
        self.reasons = tuple(reasons)


class PluginsUnchecked(PluginsSkipped):
    """A check found nothing, but could not look at all plugins."""

    def __init__(self, count: int, missing: int, path: object) -> None:
        plugins = "1 plugin" if count == 1 else f"{count} plugins"
        found = [f"{plugins} could not be checked, for the reasons above; mend or uninstall them"]
        if missing:
            found.append(_missing(missing, path))
        Conflict.__init__(self, "; ".join([*found, "nothing else is wrong"]))


def _missing(count: int, path: object) -> str:
    what = "1 migration is missing" if count == 1 else f"{count} migrations are missing"
    return f"{what}, run: quetz init-db {quote(str(path))}"
