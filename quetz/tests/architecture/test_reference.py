"""Every command, setting and hook is in the reference, below a heading of its own."""

import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from quetz import hooks, plugin_api
from quetz.cli.app import app
from quetz.cli.outcomes import EXIT_CODES, INTERRUPTED
from quetz.services.operations import RULES, Place, Rule, Takes
from quetz.settings import SECTIONS
from quetz.tests.architecture.api_page import PAGE, page
from quetz.tests.architecture.sources import ROOT
from quetz.tests.cli.outputs import OUTPUTS

REFERENCE = ROOT / "docs/reference"


def headed(document: str) -> dict[str, str]:
    """Return the text below each heading, up to the next: ``{"[general]": text, ...}``."""
    text = (REFERENCE / document).read_text(encoding="utf-8")
    parts = re.split(r"^##+ (.+)$", text, flags=re.MULTILINE)
    return {
        heading.replace("`", ""): below
        for heading, below in zip(parts[1::2], parts[2::2], strict=True)
    }


def commands_of(group: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield each command with its whole name: ``quetz user create``."""
    for part, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands_of(command, f"{name} {part}")
        else:
            yield f"{name} {part}", command


COMMANDS = dict(commands_of(typer.main.get_command(app), "quetz"))
HOOKS = [name for name, value in vars(hooks).items() if hasattr(value, "quetz_spec")]
SETTINGS = [
    pytest.param(section, key, id=f"{section}.{key}")
    for section, model in SECTIONS.items()
    for key in model.model_fields
]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_described_with_all_its_options(name):
    headings = headed("commands.md")

    [text] = [text for heading, text in headings.items() if f"{heading} ".startswith(f"{name} ")]

    options = [parameter.opts[0] for parameter in COMMANDS[name].params if parameter.opts]
    assert [option for option in options if option.startswith("--") and option not in text] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_the_shape_of_what_a_command_prints_as_json_is_published(name):
    prints_json = any("--json" in parameter.opts for parameter in COMMANDS[name].params)

    assert (name in OUTPUTS["$defs"]) == prints_json


def test_the_exit_codes_that_a_command_may_end_with_are_described():
    text = (REFERENCE / "commands.md").read_text(encoding="utf-8")

    described = [int(code) for code in re.findall(r"^\| (\d+) \| ", text, flags=re.MULTILINE)]

    assert described == sorted({0, *EXIT_CODES.values(), INTERRUPTED})


@pytest.mark.parametrize(("section", "key"), SETTINGS)
def test_a_setting_is_described(section, key):
    text = headed("settings.md")[f"[{section}]"]

    assert f"| `{key}` |" in text


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_is_described_with_its_arguments(hook):
    arguments = ", ".join(inspect.signature(getattr(hooks, hook)).parameters)

    assert f"{hook}({arguments})" in headed("hooks.md")


def test_each_name_that_a_plugin_may_import_is_described_and_no_other():
    text = headed("plugin_api.md")["Names"]

    assert sorted(re.findall(r"^\| `(\w+)` \| ", text, re.MULTILINE)) == sorted(plugin_api.__all__)


def asked_verb(rule: Rule) -> str:
    """Return the verb that a limited API key must have; what everyone may do takes none."""
    everyone = rule.takes is Takes.NOTHING and rule.place is Place.SERVER
    return "none" if everyone else rule.verb


def test_each_operation_that_a_route_may_declare_is_described_with_what_it_takes():
    text = headed("plugin_api.md")["Operations"]

    rows = [
        f"| `{one.name}` | {rule.deed} | {rule.needed} | {asked_verb(rule)} |"
        for one, rule in RULES.items()
    ]
    assert re.findall(r"^\| `[A-Z_]+` \|.*$", text, re.MULTILINE) == rows


def test_the_page_of_the_api_is_what_make_docs_writes():
    assert PAGE.read_text(encoding="utf-8") == page()
