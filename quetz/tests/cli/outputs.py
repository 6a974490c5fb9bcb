"""What commands print with --json, beside what is published of it."""

import json
from typing import Any

import fastjsonschema

from quetz.tests.architecture.sources import ROOT

OUTPUTS = json.loads((ROOT / "docs/reference/outputs.schema.json").read_text(encoding="utf-8"))


def read_output(command: str, text: str) -> Any:
    """Parse what ``quetz <command> --json`` printed, and compare it with the published schema."""
    document = json.loads(text)
    # fastjsonschema knows no "$defs" at the top of another document.
    fastjsonschema.validate(OUTPUTS | {"$ref": f"#/$defs/quetz {command}"}, document)
    return document
