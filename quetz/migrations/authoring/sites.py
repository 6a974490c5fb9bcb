"""Tells whether a folder is the source of a package, or a copy that pip keeps."""

import sys
import sysconfig
from pathlib import Path

from quetz.errors import PluginError

_NAMES = frozenset({"site-packages", "dist-packages"})


def check_is_source(owner: str, folder: Path) -> None:
    """Raises PluginError: the folder is of an installed copy, where a new file would be lost."""
    folder = folder.resolve()
    if copies := _copies() & set(folder.parents):
        raise PluginError(
            owner,
            f"is installed as a copy in '{min(copies)}', which the next installation replaces; "
            "install it from its source with: pip install -e, or name a folder with --output",
        )


def _copies() -> set[Path]:
    installed = {Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib")}
    installed |= {path for path in map(Path, sys.path) if path.name in _NAMES}
    return {path.resolve() for path in installed}
