"""The access log: what was asked, by whom, and how it was answered."""

import logging
import re

import pytest
from starlette.testclient import TestClient

from quetz.deployment import Deployment
from quetz.web import access_log
from quetz.web.access_log import NAME, AccessLog
from quetz.web.app import create_app

LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} testclient "
    r'"(\w+ [^"]*)" (\d{3}) \d+\.\d ms'
)


@pytest.fixture
def ask(deployment_path, caplog):
    """Ask a server for paths, one after another; return (request, status) of each logged line."""

    def ask(*paths, level=logging.INFO):
        caplog.set_level(level, NAME)
        with TestClient(create_app(Deployment.open(deployment_path))) as client:
            for path in paths:
                client.get(path)
        lines = [line for record in caplog.records if record.name == NAME for line in record.lines]
        return [match.groups() for match in map(LINE.fullmatch, lines) if match]

    return ask


def test_every_request_is_logged_when_the_server_has_ended(ask):
    assert ask("/health/live", "/get/nowhere/noarch/repodata.json", "/api/channels") == [
        ("GET /health/live", "200"),
        ("GET /get/nowhere/noarch/repodata.json", "401"),
        ("GET /api/channels", "200"),
    ]


def test_a_token_in_a_path_is_not_logged(ask):
    assert ask("/t/secret/get/nowhere/noarch/repodata.json") == [
        ("GET /t/***/get/nowhere/noarch/repodata.json", "401")
    ]


def test_nothing_is_logged_above_the_level(ask):
    assert ask("/health/live", level=logging.WARNING) == []


def test_lines_are_written_in_parts_that_a_pipe_keeps_together(ask, caplog):
    ask(*["/health/live"] * 150, "/get/" + "x" * 5000, "/get/" + "é" * 900, "/health/live")

    sizes = [
        [len(line.encode()) + 1 for line in record.lines]
        for record in caplog.records
        if record.name == NAME
    ]
    assert sum(map(len, sizes)) == 153
    assert all(sum(some) <= 4096 or len(some) == 1 for some in sizes)
    assert max(map(len, sizes)) > 10


def test_a_log_that_takes_no_lines_costs_no_more_than_some_memory(caplog, monkeypatch):
    monkeypatch.setattr(access_log, "MOST", 3)
    monkeypatch.setattr(access_log, "WRITE_SECONDS", 1000)
    caplog.set_level(logging.INFO, NAME)
    log = AccessLog()
    log.start()
    for _ in range(5):
        log.note({"method": "GET", "path": "/", "client": ("testclient", 1)}, 200, 0.1)
    log.stop()

    [written] = [record for record in caplog.records if record.name == NAME]
    assert len(vars(written)["lines"]) == 3
    assert "2 requests were not logged" in caplog.text
