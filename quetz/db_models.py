"""``Base`` and the core models, under the name that plugins import."""

from quetz.db.base import Base
from quetz.db.models import *  # noqa: F403  the list is kept in one place, __all__ there
from quetz.db.models import __all__ as _models

__all__ = ["Base", *_models]  # noqa: PLE0604
