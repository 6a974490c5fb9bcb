"""The tests of a plugin's migrations, on each database. An author of a plugin reads what fails."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from sqlalchemy import Engine

from quetz.db.engine import open_engine
from quetz.errors import QuetzError
from quetz.migrations.schemas.comparisons import differences as differences_from_models
from quetz.migrations.trees import load_tree
from quetz.plugins import Plugins, load_plugins
from quetz.testing.databases import Databases, DbInit, build_schema
from quetz.testing.fixtures import backends
from quetz.testing.migrations import TESTED
from quetz.testing.migrations.grounds import Ground, Move, Stage, losses_on_the_way
from quetz.testing.migrations.kills import Kills
from quetz.testing.migrations.snapshots import Snapshot, differences


@dataclass(frozen=True)
class Ascent:
    """All revisions, applied to the base one after another; ``failure`` says why not all."""

    base: Snapshot
    moves: list[Move]
    top: Snapshot
    failure: str = ""


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load_plugins([])


@pytest.fixture(scope="module")
def tested(pytestconfig: pytest.Config) -> str:
    """Name the plugin."""
    return pytestconfig.stash[TESTED]


@pytest.fixture(scope="module")
def sound(tested: str, plugins: Plugins) -> str:
    """Name the plugin if it can be loaded, with its revisions."""
    if tested in plugins.broken or tested in load_tree(plugins).broken:
        pytest.skip(f"{tested} cannot be loaded, as another test says")
    return tested


@pytest.fixture(scope="module", params=backends())
def databases(
    request: pytest.FixtureRequest, _all_databases: Callable[[str], Databases]
) -> Databases:
    return _all_databases(request.param)


@pytest.fixture(scope="module")
def engine(databases: Databases) -> Iterator[Engine]:
    engine = open_engine(databases.empty())
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def ground(engine: Engine, databases: Databases, plugins: Plugins, sound: str) -> Ground:
    return Ground(engine, plugins, sound, databases.empty)


@pytest.fixture(scope="module")
def ascent(ground: Ground) -> Ascent:
    base = top = ground.lay()
    moves: list[Move] = []
    try:
        for stage in ground.stages:
            moves.append(ground.up(stage, top))
            top = ground.seed()
    except QuetzError as error:
        return Ascent(base, moves, top, str(error))
    return Ascent(base, moves, top)


@pytest.fixture
def at_top(ascent: Ascent, ground: Ground) -> Ascent:
    """Let all revisions be applied, whatever another test did to the database."""
    if ascent.failure:
        pytest.skip("a migration cannot be applied, as another test says")
    if ground.look() != ascent.top:
        now = ground.lay()
        for stage in ground.stages:
            ground.up(stage, now)
            now = ground.seed()
    return ascent


@pytest.fixture
def climbed(at_top: Ascent, ground: Ground) -> Ascent:
    if not ground.stages:
        pytest.skip(f"{ground.owner} has no migration yet")
    return at_top


@contextmanager
def told_in_a_sentence() -> Iterator[None]:
    try:
        yield
    except QuetzError as error:
        pytest.fail(str(error), pytrace=False)


def expect_none(faults: Iterable[str]) -> None:
    if found := list(faults):
        pytest.fail("\n".join(found), pytrace=False)


def test_the_plugin_and_its_models_can_be_loaded(tested: str, plugins: Plugins) -> None:
    expect_none([str(plugins.broken[tested])] if tested in plugins.broken else [])


def test_there_is_one_newest_revision(tested: str, plugins: Plugins) -> None:
    tree = load_tree(plugins)

    expect_none([str(tree.broken[tested])] if tested in tree.broken else [])


def test_all_revisions_can_be_applied(ascent: Ascent) -> None:
    expect_none([ascent.failure] if ascent.failure else [])


def test_the_migrations_make_what_the_models_say(
    at_top: Ascent, ground: Ground, plugins: Plugins
) -> None:
    with ground.engine.connect() as connection:
        lines = differences_from_models(connection, plugins, {ground.owner})

    expect_none(f"a migration is missing: {line}" for line in sorted(lines))


def test_tables_are_the_same_by_models_and_by_migrations(
    at_top: Ascent, ground: Ground, databases: Databases, plugins: Plugins
) -> None:
    own = {table for table in at_top.top.tables if plugins.owner_of_table(table) == ground.owner}
    ground.engine.dispose()

    build_schema(databases.empty(), DbInit.CREATE_TABLES)

    by_models = ground.look().schema_of(own)
    by_migrations = at_top.top.schema_of(own)
    expect_none(
        [
            *(f"only by models: {line}" for line in sorted(by_models - by_migrations)),
            *(f"only by migrations: {line}" for line in sorted(by_migrations - by_models)),
        ]
    )


def test_rows_survive_each_revision_up_and_down_and_up(climbed: Ascent, ground: Ground) -> None:
    now = ground.lay()

    for stage in ground.stages:
        with told_in_a_sentence():
            faults = _faults_of_stairs(ground, stage, now)
        expect_none(faults)
        now = ground.seed()


def test_no_revision_touches_what_others_own(climbed: Ascent, ground: Ground) -> None:
    own = ground.own_tables()

    with told_in_a_sentence():
        moves = [*climbed.moves, *(ground.down(stage) for stage in reversed(ground.stages))]

    expect_none(line for move in moves for line in move.intrusions(own))


def test_a_downgrade_to_the_base_leaves_no_trace(climbed: Ascent, ground: Ground) -> None:
    with told_in_a_sentence():
        after = ground.down(ground.stages[0]).after

    expect_none(differences(climbed.base, after))
    assert after.heads == climbed.base.heads


def test_a_kill_at_any_statement_leaves_a_whole_revision(climbed: Ascent, ground: Ground) -> None:
    ground.engine.dispose()
    kills = Kills(ground.engine.url.render_as_string(hide_password=False), ground.owner)

    expect_none(kills.run_apart())


def _faults_of_stairs(ground: Ground, stage: Stage, start: Snapshot) -> list[str]:
    up = ground.up(stage, start)
    ground.seed()
    down = ground.down(stage)
    faults = [
        *up.losses(),
        *down.losses(),
        *losses_on_the_way(stage, start, up, down),
        *(f"{down.what}: {line}" for line in differences(start, down.after)),
    ]
    if not faults:
        again = ground.up(stage, down.after)
        changed = differences(up.after, again.after)
        faults += [*again.losses(), *(f"applying {stage} again: {line}" for line in changed)]
    return faults
