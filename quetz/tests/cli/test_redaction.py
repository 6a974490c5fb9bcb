import json
import logging
import logging.config

import pytest

from quetz.cli.logs import log_config
from quetz.cli.progress import show
from quetz.cli.redaction import json_of, redact
from quetz.migrations.progress import Progress

KEY = "qz-" + "A" * 16 + "-" + "b" * 43 + "123456"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        pytest.param(f"key {KEY}.", "key qz-***.", id="key"),
        pytest.param(f"/t/{KEY}/get/c/x", "/t/***/get/c/x", id="key in a path"),
        pytest.param(
            "Cookie: __Host-session=qzs-" + "a_-" * 14 + "b; x=1",
            "Cookie: __Host-session=qzs-***; x=1",
            id="cookie",
        ),
        pytest.param("X-CSRF: qzc-" + "0f" * 32, "X-CSRF: qzc-***", id="token of a page"),
        pytest.param("GET /t/anything/get/c/x", "GET /t/***/get/c/x", id="foreign token"),
        pytest.param("postgresql://u:p@h/d", "postgresql://u:***@h/d", id="password"),
        pytest.param("x://u:p@:%/@h/d is", "x://u:***@h/d is", id="password of odd characters"),
        pytest.param("host=h password=p@ x=1", "host=h password=*** x=1", id="DSN"),
        pytest.param(
            "a postgresql://u:p @h/d", "a postgresql://u:***@h/d", id="blank in a password"
        ),
        pytest.param("x://u:p%40%3A@h/d", "x://u:***@h/d", id="encoded password"),
        pytest.param("password='p q\\'r' x=1", "password=*** x=1", id="quoted in a DSN"),
        pytest.param("?password=p%20q&x=1", "?password=***&x=1", id="query of a URL"),
        pytest.param("{'password': 'p q', 'x': 1}", "{'password': ***, 'x': 1}", id="dictionary"),
        pytest.param("the password: a word", "the password: a word", id="prose"),
        pytest.param("qz-tool-1.0-0.conda", "qz-tool-1.0-0.conda", id="package"),
        pytest.param("http://h:8000/get/c", "http://h:8000/get/c", id="URL with a port"),
    ],
)
def test_secrets_are_redacted_and_nothing_else(text, redacted):
    assert redact(text) == redacted


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("password=s3cret", id="at the end"),
        pytest.param('password="s3cret \\" and"', id="quoted"),
        pytest.param("password='s3cret\\' and'", id="backslash"),
        pytest.param('postgresql://u:s3cret" w@h/d', id="quote in a URL"),
        pytest.param("{'password': 's3cret', 'port': 1}", id="dictionary"),
        pytest.param(f"{KEY}s3cret", id="key"),
    ],
)
def test_json_without_secrets_is_json(text):
    written = json_of({"message": text, "rows": 1, "broken": [{"reason": text}], "none": None})

    document = json.loads(written)
    assert "s3cret" not in written
    assert document["message"] == document["broken"][0]["reason"] == redact(text)
    assert (document["rows"], document["none"]) == (1, None)


def test_json_tells_files_by_their_paths():
    assert json.loads(json_of({"file": "/srv/t/backups/one"})) == {"file": "/srv/t/backups/one"}


def test_a_line_of_progress_without_secrets_is_json(capsys):
    show(Progress("warning", "it said: password=true", {"rows": True, "reason": "password=1"}))

    assert json.loads(capsys.readouterr().err) == {
        "event": "warning",
        "message": "it said: password=***",
        "rows": True,
        "reason": "password=***",
    }


@pytest.fixture
def log(tmp_path):
    """Log as the server does; returns what was written so far."""
    file = tmp_path / "quetz.log"
    loggers = [logging.getLogger(name) for name in ("", "quetz", "quetz.access")]
    before = [(logger.level, logger.handlers[:], logger.propagate) for logger in loggers]
    logging.config.dictConfig(log_config("INFO", file))
    yield file.read_text
    for logger, (level, handlers, propagate) in zip(loggers, before, strict=True):
        for handler in logger.handlers:
            handler.close()
        logger.setLevel(level)
        logger.handlers[:] = handlers
        logger.propagate = propagate


@pytest.mark.parametrize("name", ["quetz.web", "_granian", "sqlalchemy"])
def test_no_logger_writes_a_secret(log, name):
    logging.getLogger(name).warning("it was %s", KEY)

    assert "it was qz-***\n" in log()


def test_no_traceback_shows_a_secret(log):
    error = ValueError(f"postgresql://quetz:s3cret@localhost, {KEY}")

    try:
        raise error
    except ValueError:
        logging.getLogger("_granian").exception("Application callable raised an exception")

    assert "ValueError: postgresql://quetz:***@localhost, qz-***\n" in log()
    assert "s3cret" not in log()


def log_requests(*lines):
    logging.getLogger("quetz.access").info("requests", extra={"lines": lines})


def test_no_line_of_the_access_log_holds_a_secret(log):
    log_requests("GET /one", f"GET /{KEY}", "GET /two")

    assert log() == "GET /one\nGET /qz-***\nGET /two\n"


def test_a_path_cannot_forge_a_line_of_the_access_log(log):
    log_requests("/get/a\n2026 forged \x1b[31m")

    assert log() == "/get/a\\x0a2026 forged \\x1b[31m\n"


def test_a_path_cannot_hide_the_next_line_of_the_access_log(log):
    log_requests('GET /password="', "GET /next", 'GET /"')

    assert log().splitlines()[1:] == ["GET /next", 'GET /"']


def test_messages_below_the_level_are_not_logged(log):
    logging.getLogger("quetz.web").debug("detail")

    assert log() == ""
