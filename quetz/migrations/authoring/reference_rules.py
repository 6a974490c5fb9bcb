"""Rules for foreign keys of plugins: none of them keeps quetz from deleting its own rows."""

from collections.abc import Sequence

from sqlalchemy import ForeignKey, Table

from quetz.db.base import Base
from quetz.errors import PluginError
from quetz.plugins import CORE, Plugins

CASCADE, SET_NULL = "CASCADE", "SET NULL"


def references_of(plugins: Plugins, owner: str) -> list[ForeignKey]:
    """List the foreign keys of the owner's models to tables of others."""
    return [
        reference
        for reference in _references(plugins, owner)
        if plugins.owner_of_table(reference.column.table.name) != owner
    ]


def check_references(plugins: Plugins, owner: str) -> None:
    """Refuse what would keep quetz from deleting a row, or from changing a column.

    Raises:
        PluginError: a foreign key breaks a rule.
    """
    if owner == CORE:
        return
    tables = list(Base.metadata.tables.values())
    vanishing = _vanishing(tables, [t for t in tables if plugins.owner_of_table(t.name) == CORE])
    for reference in _references(plugins, owner):
        is_core = plugins.owner_of_table(reference.column.table.name) == CORE
        fault = (is_core and _fault_of_target(reference)) or (
            reference.column.table in vanishing and _fault_of_action(reference)
        )
        if fault:
            columns = f"from {reference.parent} to {reference.column}"
            raise PluginError(owner, f"the foreign key {columns} {fault}")


def _references(plugins: Plugins, owner: str) -> list[ForeignKey]:
    return [
        reference
        for table in sorted(Base.metadata.tables.values(), key=lambda table: table.name)
        if plugins.owner_of_table(table.name) == owner
        for reference in sorted(table.foreign_keys, key=str)
    ]


def _vanishing(tables: Sequence[Table], core: Sequence[Table]) -> set[Table]:
    """Return the tables whose rows go when quetz deletes one of its own."""
    vanishing = set(core)
    while True:
        more = {
            table
            for table in tables
            for reference in table.foreign_keys
            if action_of(reference) == CASCADE and reference.column.table in vanishing
        }
        if more <= vanishing:
            return vanishing
        vanishing |= more


def action_of(reference: ForeignKey) -> str:
    return (reference.ondelete or "").upper()


def _fault_of_target(reference: ForeignKey) -> str:
    if reference.column.primary_key and action_of(reference) in {CASCADE, SET_NULL}:
        return ""
    return "must refer to a primary key, with ondelete CASCADE or SET NULL"


def _fault_of_action(reference: ForeignKey) -> str:
    if action_of(reference) == CASCADE:
        return ""
    if action_of(reference) != SET_NULL:
        return (
            f"would keep quetz from deleting rows of its own, with which those of "
            f'{reference.column.table.name} go; say ondelete="CASCADE" or "SET NULL"'
        )
    if reference.parent.nullable:
        return ""
    return (
        f'would set null what must not be null; say ondelete="CASCADE", or let '
        f"{reference.parent} be null"
    )
