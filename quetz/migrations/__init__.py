"""Brings databases to the schema of this version, and writes the revisions that do it."""

from quetz.migrations import safe
from quetz.migrations.authoring import make_migration
from quetz.migrations.positions import check_schema, is_in_use
from quetz.migrations.runs import downgrade, upgrade

__all__ = ["check_schema", "downgrade", "is_in_use", "make_migration", "safe", "upgrade"]
