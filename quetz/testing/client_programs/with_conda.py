"""Run the conda 24.7 that conda-lock carries, with conda's own arguments.

Its modules import each other relatively, but it finds its commands by names such as
``conda.cli.main_create``, so that it must be importable as ``conda``.
"""

import logging
import sys
from importlib.util import find_spec
from pathlib import Path


def main() -> None:
    if sys.version_info >= (3, 13):
        # Python took these away; conda calls them. A later conda in conda-lock will not.
        for name, lock in {"_acquireLock": "acquire", "_releaseLock": "release"}.items():
            setattr(logging, name, getattr(logging._lock, lock))  # type: ignore[attr-defined]  # noqa: SLF001
    spec = find_spec("conda_lock")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("conda-lock, which carries conda, is not installed")
    sys.path.insert(0, str(Path(spec.origin).with_name("_vendor")))

    from conda.cli import main as conda  # type: ignore[import-not-found]

    sys.exit(conda())


if __name__ == "__main__":
    main()
