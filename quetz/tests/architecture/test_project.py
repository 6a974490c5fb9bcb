"""What a newcomer meets first, and what the project promises of its files."""

import re
import subprocess
import sys
import tomllib
import zipfile

import pytest

from quetz import __version__
from quetz.tests.architecture.sources import ROOT

DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
LOCKS = sorted(ROOT.glob("requirements*.lock"))


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_the_first_commands_shown_run_and_test(name):
    text = (ROOT / name).read_text(encoding="utf-8")

    first = text.split("```")[1]

    assert re.findall(r"^make \w+", first, re.MULTILINE) == ["make run", "make test"]


def test_the_changelog_begins_with_this_version():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

    newest = re.findall(r"^## (\S+)", text, re.MULTILINE)[0]

    assert newest == __version__


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_names_no_host(lock):
    text = lock.read_text(encoding="utf-8")

    assert "--hash=sha256:" in text
    assert "://" not in text


def test_the_locks_pin_what_the_project_needs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = project["dependency-groups"]
    needed = {
        "requirements.lock": [*project["project"]["dependencies"], *groups["build"]],
        "requirements-dev.lock": [*groups["dev"]],
    }

    missing = [
        requirement
        for lock, requirements in needed.items()
        for requirement in requirements
        if f"\n{distribution(requirement)}==" not in "\n" + (ROOT / lock).read_text("utf-8")
    ]

    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(document):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8"))

    dead = [link for link in links if "://" not in link and not (document.parent / link).exists()]

    assert dead == []


def test_the_wheel_leaves_the_tests_out(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path],
        cwd=ROOT,
        check=True,
    )

    [wheel] = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()

    assert "quetz/errors/__init__.py" in names
    assert [name for name in names if name.startswith("quetz/tests/")] == []


def distribution(requirement: str) -> str:
    """Return the name as a lock spells it: ``psycopg[binary]>=3.3`` is ``psycopg``."""
    return re.sub(r"[._-]+", "-", re.split(r"[\[<>=;]", requirement)[0]).lower()
