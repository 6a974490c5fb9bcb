"""Where the log goes, and how much of it."""

from pathlib import Path
from typing import Any

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def log_config(level: str, file: Path | None) -> dict[str, Any]:
    """Return a configuration for ``logging.config``: standard error, and a file if there is one.

    Every line is redacted by its formatter, tracebacks too.
    """
    outputs: dict[str, dict[str, Any]] = {"stderr": {"class": "logging.StreamHandler"}}
    if file is not None:
        # Taken up anew after a rotation.
        outputs["file"] = {
            "class": "logging.handlers.WatchedFileHandler",
            "filename": str(file),
            "encoding": "utf-8",
        }
    handlers = {
        f"{formatter}_{name}": output | {"formatter": formatter}
        for formatter in ("plain", "access")
        for name, output in outputs.items()
    }
    plain = [name for name in handlers if name.startswith("plain")]
    access = [name for name in handlers if name.startswith("access")]
    ours = "DEBUG" if level == "TRACE" else level
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "plain": {"()": "quetz.cli.redaction.RedactingFormatter", "fmt": _FORMAT},
            "access": {"()": "quetz.cli.redaction.AccessFormatter"},
        },
        "handlers": handlers,
        "root": {"level": "WARNING", "handlers": plain},
        "loggers": {
            "quetz": {"level": ours},
            "_granian": {},  # its level is an option of the server
            "quetz.access": {"level": ours, "handlers": access, "propagate": False},
        },
    }
