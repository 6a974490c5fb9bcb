"""Brings databases to the schema of this version, and writes the revisions that do it."""

from quetz.migrations.authoring import make_migration
from quetz.migrations.revisions import check_schema
from quetz.migrations.runs import downgrade, upgrade

__all__ = ["check_schema", "downgrade", "make_migration", "upgrade"]
