"""No part of a database's password is in any stream, however odd the URL."""

import itertools
import json
import random
from urllib.parse import quote

import pytest

CORES = ("s3cr3tW0rd", "pässwörtΩ")
ODD = ("", "%", "@", ":", "/", "#", "?", "'", '"', " ", "&", "=", "[", "]", "\\", "%40", "%%", "@@")
PLACES = (
    "127.0.0.1:1/quetz",  # nobody listens there
    "127.0.0.1:99999/quetz",
    "127.0.0.1:port/quetz",
    "[::1]:1/quetz",
    "/quetz?host=/nowhere",
    "127.0.0.1:1/quetz?connect_timeout=1&sslmode=nonsense",
    "127.0.0.1:1/quetz?password=again",
)
SCHEMES = ("postgresql", "postgresql+psycopg", "postgres", "mysql", "postgresql+nodriver")
COMMANDS = (
    ("init-db",),
    ("migrations", "status"),
    ("migrations", "check"),
    ("make-migrations", "--check"),
    ("start",),
)
# These look at the URL as the others do; each gets a part of the URLs.
MORE = (
    ("init-db", "--plan"),
    ("migrate", "--json"),
    ("migrations", "history"),
    ("migrations", "backup"),
    ("make-migrations", "--message", "x", "--output", "/nowhere"),
    ("plugin", "list"),
)
COUNT = 200
PARTS = 4


def hostile_urls():
    """Yield the core of a password, and a URL with it, encoded as it should be or not."""
    chance = random.Random(14)
    everything = list(itertools.product(CORES, ODD, ODD, PLACES, SCHEMES, (True, False)))
    for core, before, after, place, scheme, encoded in chance.sample(everything, COUNT):
        password = f"{before}{core}{after}x{core}"
        shown = quote(password, safe="") if encoded else password
        yield core, f"{scheme}://quetz:{shown}@{place}"


@pytest.fixture
def deployment(tmp_path):
    folder = tmp_path / "deployment"
    folder.mkdir()
    return folder


@pytest.fixture
def runs(quetz, deployment):
    """Run commands on a URL, with --debug, and without it in a third of all cases."""
    numbers = itertools.count()

    def runs(url, commands):
        setting = f"[sqlalchemy]\ndatabase_url = {json.dumps(url)}\n"
        (deployment / "config.toml").write_text(setting, encoding="utf-8")
        for command in commands:
            debug = ["--debug"] if next(numbers) % 3 else []
            yield command, quetz(*debug, *command, deployment)

    return runs


def tells(result, core):
    """Tell whether any part of the password is in what was printed, or encoded in it."""
    output = result.output + str(result.exception or "")
    forms = (core, quote(core), core[:6], quote(core)[:6], core[-6:], json.dumps(core)[1:-1])
    return any(form in output for form in forms)


@pytest.mark.parametrize("part", range(PARTS))
def test_no_secret_of_a_hostile_url_is_told(runs, part):
    told, unexpected = [], []
    for number, (core, url) in enumerate(list(hostile_urls())[part::PARTS]):
        for command, result in runs(url, (*COMMANDS, MORE[number % len(MORE)])):
            if tells(result, core):
                told.append((command, url, result.output))
            # Some need no database: they tell that they could not look at it.
            if result.exit_code == 0 and command[0] not in {"make-migrations", "plugin"}:
                unexpected.append((command, url))

    assert told == []
    assert unexpected == []


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize(
    "url",
    [
        "sqlite://quetz:{}@localhost/quetz.sqlite",
        "sqlite://quetz:a@{}@localhost/quetz.sqlite",
        "sqlite://quetz:a/{}@localhost/quetz.sqlite",
        "sqlite+pysqlcipher://:{}@/quetz.sqlite",
        "sqlite:{}",
        "sqlite://{}",
        "sqlite:///quetz.sqlite?password={}",
        "sqlite:///no/such/folder?key={}&timeout=never",
    ],
)
def test_no_secret_of_an_sqlite_url_is_told(runs, core, url):
    told = [command for command, result in runs(url.format(core), COMMANDS) if tells(result, core)]

    assert told == []


def test_an_sqlite_url_that_names_a_server_is_refused(runs):
    [(_, result)] = runs("sqlite://quetz:s3cr3t@localhost/quetz.sqlite", [["init-db"]])

    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == (
        "quetz: [sqlalchemy] database_url names a server; use sqlite:///quetz.sqlite"
    )


@pytest.mark.parametrize("databases", ["postgresql"], indirect=True)
@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("name", ["role", "database"])
def test_no_secret_is_told_that_a_server_refuses(runs, empty_database_url, core, name):
    url = empty_database_url.set(password=f"{core}@ %'")
    url = url.set(username="nobody") if name == "role" else url.set(database="nothing")

    refused = list(runs(url.render_as_string(hide_password=False), COMMANDS))

    assert all("does not exist" in result.output for _, result in refused)
    assert [command for command, result in refused if tells(result, core)] == []


def test_a_url_for_migrations_is_as_secret(quetz, deployment):
    url = "postgresql://quetz:s3cr3t%40x@127.0.0.1:1/quetz"
    (deployment / "config.toml").write_text(
        f'[sqlalchemy]\ndatabase_url = "postgresql://127.0.0.1:1/x"\nmigration_url = "{url}"\n'
    )

    result = quetz("--debug", "init-db", deployment)

    assert result.exit_code != 0
    assert "s3cr3t" not in result.output
