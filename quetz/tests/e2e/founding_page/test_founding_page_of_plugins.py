"""The page that this project began with: a test for each sentence on plugins, R13 to R20.

Its commands are run as they stand there. Each row also has what goes wrong most often.
"""

import re

from sqlalchemy import inspect

from quetz.testing.migrations.snapshots import lost_rows
from quetz.tests.architecture.sources import ROOT
from quetz.tests.e2e.founding_page.steps import (
    INIT_DB,
    INITIALIZE,
    MAKE,
    MODELS,
    PLUGINS,
    SECOND,
    add_column,
    add_plugin,
    assert_refused,
    body_of,
    fill,
    look,
    names_in,
    on_database,
    written,
)


def test_r13_a_plugin_has_to_be_initialized(place):
    package = add_plugin(place)

    ended = place.attempt(SECOND)

    assert_refused(ended, 2, "'quetz-plugin_name': has no migration yet; add --initialize")
    assert not list(package.rglob("versions/*.py"))


def test_r14_the_template_makes_the_backbone(place):
    place.run(f"cookiecutter {ROOT}/plugin-template --no-input plugin_name=plugin_name")
    package = place.folder / "quetz-plugin-name/quetz_plugin_name"
    (package / "db_models.py").write_text(MODELS)
    place.run("pip install -e quetz-plugin-name")

    file = written(place.run(INITIALIZE))

    assert file.parent == package / "migrations/versions"
    place.run("pip wheel -w wheels ./quetz-plugin-name")
    [wheel] = (place.folder / "wheels").iterdir()
    assert f"migrations/versions/{file.name}" in place.run(f"python -m zipfile -l {wheel}")


def test_r15_models_are_found_in_db_models(place):
    add_plugin(place)
    place.run(f"pip install -e {PLUGINS}/quetz-licenses")

    file = written(place.run(INITIALIZE))

    assert re.findall(r'create_table\(\s*"(\w+)"', body_of(file)) == ["quetz_plugin_name_things"]


def test_r15_a_model_that_cannot_be_imported_is_told_in_a_sentence(place):
    add_plugin(place, "import nowhere")

    ended = place.attempt(INITIALIZE)

    assert_refused(ended, 2, "'quetz-plugin_name': cannot import .*No module named 'nowhere'")


def test_r16_initialize_makes_a_root(place, engine, head):
    on_database(place, engine)
    add_plugin(place)

    file = written(place.run(INITIALIZE))

    assert names_in(file) == {
        "revision": file.name.partition("_")[0],
        "down_revision": None,
        "branch_labels": ("quetz-plugin_name",),
        "depends_on": head,
    }


def test_r16_a_second_root_is_refused_and_does_no_harm(place):
    package = add_plugin(place)
    file = written(place.run(INITIALIZE))

    ended = place.attempt(INITIALIZE)

    revision = names_in(file)["revision"]
    assert_refused(ended, 2, f"is initialised already at {revision}; leave out --initialize")
    assert list(package.rglob("versions/*.py")) == [file]
    place.run(INIT_DB)


def test_r16_quetz_itself_is_initialized_already(checkout, head):
    ended = checkout.attempt(f"{MAKE} --initialize")

    assert_refused(ended, 2, f"'quetz': is initialised already at {head}")


def test_r17_the_script_is_in_the_plugins_own_folder(place):
    package = add_plugin(place)

    file = written(place.run(INITIALIZE))

    assert file.parent == package / "migrations/versions"
    assert re.fullmatch(r"[0-9a-f]{12}_initial_revision\.py", file.name)


def test_r17_a_package_without_an_init_file_has_a_folder_too(place):
    package = add_plugin(place)
    (package / "__init__.py").unlink()

    file = written(place.run(INITIALIZE))

    assert file.parent == package / "migrations/versions"


def test_r18_a_plugin_has_to_be_installed_in_development_mode(place):
    package = add_plugin(place, install="pip install")

    ended = place.attempt(INITIALIZE)

    assert_refused(ended, 2, "is installed as a copy in .*pip install -e, or .*--output")
    assert not list(place.folder.parent.rglob("*_initial_revision.py"))
    place.run(f"{INITIALIZE} --output {package}/migrations/versions")
    assert len(list(package.glob("migrations/versions/*_initial_revision.py"))) == 1


def test_r19_init_db_makes_what_the_models_of_the_plugin_say(place, engine):
    on_database(place.apart(), engine)
    add_plugin(place, install="pip install -e")
    file = written(place.run(INITIALIZE))

    applied = place.run(INIT_DB).split()

    assert applied[-1] == names_in(file)["revision"]
    columns = inspect(engine).get_columns("quetz_plugin_name_things")
    assert [column["name"] for column in columns] == ["id"]


def test_r20_a_change_of_the_plugins_models_makes_its_second_migration(place, engine):
    on_database(place, engine)
    package = add_plugin(place)
    first = written(place.run(INITIALIZE))
    place.run(INIT_DB)
    before = fill(engine)
    add_column(package / "db_models.py")

    second = written(place.run(SECOND))

    assert names_in(second)["down_revision"] == names_in(first)["revision"]
    assert names_in(second)["branch_labels"] is None
    assert re.findall(r'"(quetz_\w+)"', body_of(second)) == ["quetz_plugin_name_things"]
    place.run(INIT_DB)
    assert list(lost_rows(before, look(engine))) == []
    rows = look(engine).tables["quetz_plugin_name_things"].rows
    assert rows == [{"id": 1, "note": ""}, {"id": 2, "note": ""}]
