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
    ("init-db", "--plan"),
    ("migrations", "status"),
    ("migrations", "check"),
    ("migrations", "history"),
    ("migrations", "backup"),
    ("make-migrations", "--check"),
    ("start",),
)
COUNT = 200


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


@pytest.mark.parametrize("part", range(4))
def test_no_secret_of_a_hostile_url_is_told(quetz, deployment, part):
    told = []
    for number, (core, url) in enumerate(hostile_urls()):
        if number % 4 != part:
            continue
        setting = f"[sqlalchemy]\ndatabase_url = {json.dumps(url)}\n"
        (deployment / "config.toml").write_text(setting, encoding="utf-8")
        debug = ["--debug"] if number % 3 == 0 else []
        command = COMMANDS[number // 4 % len(COMMANDS)]

        result = quetz(*debug, *command, deployment)

        output = result.output + str(result.exception or "")
        if any(form in output for form in (core, quote(core), core[:6], quote(core)[:6])):
            told.append((command, url, output))
        # make-migrations compares the models with a database of its own.
        assert result.exit_code != 0 or command[0] == "make-migrations"

    assert told == []


def test_a_url_for_migrations_is_as_secret(quetz, deployment):
    url = "postgresql://quetz:s3cr3t%40x@127.0.0.1:1/quetz"
    (deployment / "config.toml").write_text(
        f'[sqlalchemy]\ndatabase_url = "postgresql://127.0.0.1:1/x"\nmigration_url = "{url}"\n'
    )

    result = quetz("--debug", "init-db", deployment)

    assert result.exit_code != 0
    assert "s3cr3t" not in result.output
