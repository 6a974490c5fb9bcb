"""``quetz plugin new``: the tree that ``cookiecutter plugin-template`` makes, without cookiecutter.

The template needs no more of cookiecutter than variables that are replaced.
"""

import os
import re
import tempfile
from pathlib import Path
from typing import Annotated

import typer

commands = typer.Typer()

# As in plugin-template/hooks/pre_gen_project.py.
_DISTRIBUTION = re.compile(r"quetz(-[a-z0-9]+)+")

_NEXT_STEPS = """\
Write your tables into db_models.py, and then:
  pip install -e {path}
  quetz create deployment_dir
  quetz make-migrations deployment_dir --message "initial revision" --initialize --plugin {name}
  quetz init-db deployment_dir"""


@commands.command()
def new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The plugin's name, with or without quetz-.")
    ],
    directory: Annotated[
        Path, typer.Option("--directory", metavar="DIR", help="Where to make its folder.")
    ] = Path(),
) -> None:
    """Make the folder of a new plugin, and print its path."""
    from shlex import quote

    path = make_plugin(name, directory)
    typer.echo(path)
    typer.echo(_NEXT_STEPS.format(path=quote(f"{path}[test]"), name=path.name), err=True)


def make_plugin(name: str, directory: Path) -> Path:
    """Write the files of a plugin into a new folder below ``directory``, all or none.

    ``foo``, ``quetz-foo`` and ``quetz_foo`` name the same plugin.

    Raises:
        BadName: the name would make no distribution.
        BadOption: the directory is none.
        FolderExists: something is in the place of the new folder.
        OSError: naming the directory, in which nothing could be written.
    """
    from quetz.errors import BadName, BadOption, FolderExists

    distribution = "quetz-" + name.replace("_", "-").removeprefix("quetz-")
    if not _DISTRIBUTION.fullmatch(distribution):
        raise BadName("plugin", name, "use a-z, 0-9 and single dashes")
    if not directory.is_dir():
        raise BadOption(f"--directory: '{directory}' is not a folder; choose one that exists")
    path = directory / distribution
    if os.path.lexists(path):
        raise FolderExists(path)
    try:
        with tempfile.TemporaryDirectory(dir=directory, prefix=".quetz-plugin-") as work:
            _render(_template(), Path(work), _variables(distribution))
            Path(work, distribution).rename(path)
    except OSError as error:  # it names what is gone again, or nothing
        raise OSError(error.errno, error.strerror, str(directory)) from error
    return path


def _template() -> Path:
    """Return the template's folder: in an installed package, or in a checkout beside it."""
    from importlib.resources import files

    package = Path(str(files("quetz")))
    installed = package / "plugin_template"
    return installed if installed.exists() else package.parent / "plugin-template"


def _variables(distribution: str) -> dict[str, str]:
    """Return what ``cookiecutter.json`` derives, by how the template writes it."""
    return {
        "{{ cookiecutter.__distribution }}": distribution,
        "{{ cookiecutter.__package }}": distribution.replace("-", "_"),
    }


def _render(template: Path, target: Path, variables: dict[str, str]) -> None:
    def rendered(text: str) -> str:
        for variable, value in variables.items():
            text = text.replace(variable, value)
        return text

    for source in sorted(template.glob("{{*/**/*")):
        # pip compiles the modules of the template as it installs them.
        if source.is_file() and source.parent.name != "__pycache__":
            path = target / rendered(str(source.relative_to(template)))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(rendered(source.read_text(encoding="utf-8")), encoding="utf-8")
