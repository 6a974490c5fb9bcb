# ruff: noqa: SLF001 (SQLAlchemy has no public way to unmap one class)
"""What plugins declare in SQLAlchemy: whose it is, and how it is taken out again."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from inspect import currentframe
from typing import Any

from sqlalchemy import ForeignKey, MetaData, Table, event
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import ClassManager, Mapper, configure_mappers
from sqlalchemy.orm.mapper import _all_registries
from sqlalchemy.orm.relationships import RelationshipProperty
from sqlalchemy.sql.schema import SchemaItem

import quetz.db.models  # noqa: F401 (fills the metadata)
from quetz.db.base import Base
from quetz.plugins.installed import CORE, top

# Tables of Alembic, of the engine of migrations, and of DBOS, which has no prefix.
_RESERVED = re.compile(
    r"alembic_version|quetz_migration_log|_alembic_tmp_.*|workflow_.*|notifications|queues|"
    r"streams|operation_outputs|application_versions|dbos_migrations"
)
_TAKEN = re.compile(r"Table '(\w+)' is already defined")

# Of tables without a class: the package whose code made them.
_packages: dict[str, str] = {}

# Properties that a package added to mapped classes of others.
_additions: defaultdict[str, list[tuple[Mapper[Any], str]]] = defaultdict(list)


class TableChanged(Exception):
    """A plugin changes a table of another owner."""

    def __init__(self, table: str) -> None:
        super().__init__(f"changes table '{table}'")
        self.table = table


def package_of(table: str) -> str:
    """Return the package that declares a table: ``quetz``, or one of a plugin."""
    packages = {
        top(mapper.class_.__module__)
        for mapper in _mappers()
        if mapper.local_table is Base.metadata.tables.get(table)
    }
    maker = _packages.get(table, CORE)
    return maker if maker in packages or not packages else min(packages)


@contextmanager
def imports_of(package: str, packages: Collection[str]) -> Iterator[None]:
    """Note what the code of a package declares, and let it change no table that is there.

    ``packages`` are those of all plugins, which it may import.

    Raises:
        TableChanged: by the code.
    """
    before = set(Base.metadata.tables.values())
    properties = _properties()

    def refuse(_item: SchemaItem, parent: object) -> None:
        if parent in before:
            raise TableChanged(str(parent))

    def note(table: Table, metadata: MetaData) -> None:
        if metadata is Base.metadata:
            _packages[table.key] = _running(packages) or package

    event.listen(SchemaItem, "before_parent_attach", refuse)
    event.listen(Table, "after_parent_attach", note)
    try:
        yield
    finally:
        event.remove(SchemaItem, "before_parent_attach", refuse)
        event.remove(Table, "after_parent_attach", note)
        for mapper, names in _properties().items():
            if mapper in properties:
                _additions[package] += [(mapper, name) for name in names - properties[mapper]]


def table_taken(error: BaseException) -> str | None:
    """Return the table whose name was taken already, if that is the error."""
    match = _TAKEN.search(str(error)) if isinstance(error, InvalidRequestError) else None
    return match and match[1]


def faulty_name(package: str) -> tuple[str, str] | None:
    """Return a table of the package, and the package that has it already, or none.

    Names that differ in case only are one to SQLite.
    """
    owners = {name: package_of(name) for name in Base.metadata.tables}
    others = {name.lower(): owner for name, owner in owners.items() if owner != package}
    for name in sorted(name for name, owner in owners.items() if owner == package):
        if _RESERVED.fullmatch(name.lower()):
            return name, ""
        if name.lower() in others:
            return name, others[name.lower()]
    return None


def dangling_reference(package: str) -> tuple[str, str] | None:
    """Return a table of the package and the column that it refers to, if that is not there."""
    for table in Base.metadata.tables.values():
        if package_of(table.key) == package:
            for reference in table.foreign_keys:
                if not _is_met(reference):
                    return table.name, reference.target_fullname
    return None


def fault_of_classes() -> tuple[str, Exception] | None:
    """Return the package whose mapped classes do not fit together, and why; ``""`` for nobody."""
    try:
        configure_mappers()
    except Exception as error:  # noqa: BLE001 (a plugin's events may raise anything)
        failed = {mapper for mapper in _mappers() if getattr(mapper, "_configure_failed", None)}
        for package, added in _additions.items():
            if failed & {mapper for mapper, _ in added}:
                return package, error
        return min((top(mapper.class_.__module__) for mapper in failed), default=""), error
    return None


def forget(packages: Collection[str]) -> None:
    """Take out the tables and mapped classes of packages, and what leads to them."""
    tables = [table for table in Base.metadata.tables.values() if package_of(table.key) in packages]
    managers = [one for one in _managers() if top(one.class_.__module__) in packages]
    gone = {mapper for manager in managers if (mapper := vars(manager).get("mapper"))}
    added = [pair for package in packages for pair in _additions.pop(package, [])]
    for mapper, name in added + _relationships_to(gone):
        if mapper not in gone:
            _remove_property(mapper, name)
    for manager in managers:
        _unmap(manager)
    for table in tables:
        _packages.pop(table.key, None)
        Base.metadata.remove(table)


def _running(packages: Collection[str]) -> str | None:
    """Return which of the packages has the code that runs, innermost."""
    frame = currentframe()
    while frame is not None:
        package = top(str(frame.f_globals.get("__name__")))
        if package in packages:
            return package
        frame = frame.f_back
    return None


def _is_met(reference: ForeignKey) -> bool:
    try:
        table = reference.column.table
    except InvalidRequestError:
        return False
    return Base.metadata.tables.get(table.key) is table


def _managers() -> list[ClassManager[Any]]:
    return [manager for registry in list(_all_registries()) for manager in registry._managers]


def _mappers() -> list[Mapper[Any]]:
    """Return all mappers; ``registry.mappers`` raises if the mapping of a class failed."""
    return [mapper for manager in _managers() if (mapper := vars(manager).get("mapper"))]


def _properties() -> dict[Mapper[Any], set[str]]:
    return {mapper: set(mapper._props) for mapper in _mappers()}


def _relationships_to(targets: Collection[Mapper[Any]]) -> list[tuple[Mapper[Any], str]]:
    """Return what leads to mapped classes, such as what a backref added."""
    return [
        (mapper, name)
        for mapper in _mappers()
        for name, prop in mapper._props.items()
        if isinstance(prop, RelationshipProperty) and _target(prop) in targets
    ]


def _target(relationship: RelationshipProperty[Any]) -> Mapper[Any] | None:
    """Return where it leads, if that is known: to ask for its ``mapper`` configures them all."""
    entity = vars(relationship).get("entity", relationship.argument)
    return entity.mapper if isinstance(entity, Mapper) else None


def _remove_property(mapper: Mapper[Any], name: str) -> None:
    if mapper._props.pop(name, None) is not None:
        manager = mapper.class_manager
        type.__delattr__(mapper.class_, name)  # a mapped class lets nobody delete its attributes
        for attributes in (manager, manager.local_attrs):
            attributes.pop(name, None)
        manager._reset_memoizations()
        mapper._expire_memoizations()
        vars(mapper).pop("_configure_failed", None)


def _unmap(manager: ClassManager[Any]) -> None:
    registry, mapper = manager.registry, vars(manager).get("mapper")
    registry._managers.pop(manager, None)
    if mapper is None:  # its mapping failed
        registry._dispose_cls(manager.class_)
        return
    if mapper.inherits is not None:
        heirs = mapper.inherits._inheriting_mappers._storage
        heirs[:] = [heir for heir in heirs if heir() is not mapper]
        mapper.inherits._expire_memoizations()
    registry._dispose_manager_and_mapper(manager)
