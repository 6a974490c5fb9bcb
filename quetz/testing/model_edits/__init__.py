"""Edits of models, and what a migration has to do for each: the measure of autogeneration.

An edit is of the tables of a plugin ``quetz-edited``; ``users`` of the core and ``quetz_other`` of
another plugin stand beside them.
"""

from quetz.testing.model_edits.column_types import NULLS_AND_DEFAULTS, TYPES
from quetz.testing.model_edits.columns import COLUMNS
from quetz.testing.model_edits.constraints import (
    CONSTRAINTS,
    ENUMS,
    EXPRESSIONS,
    INDEXES,
    REFERENCES,
)
from quetz.testing.model_edits.edits import OWNER, TABLE, ModelEdit
from quetz.testing.model_edits.nothing import NOTHING
from quetz.testing.model_edits.own_types import OWN_TYPES
from quetz.testing.model_edits.tables import COMMENTS, SEVERAL, TABLES
from quetz.testing.model_edits.texts import TEXTS

__all__ = ["EDITS", "OWNER", "TABLE", "ModelEdit"]

EDITS = [
    *TABLES,
    *COLUMNS,
    *TYPES,
    *OWN_TYPES,
    *NULLS_AND_DEFAULTS,
    *INDEXES,
    *EXPRESSIONS,
    *CONSTRAINTS,
    *REFERENCES,
    *ENUMS,
    *COMMENTS,
    *SEVERAL,
    *TEXTS,
    *NOTHING,
]
