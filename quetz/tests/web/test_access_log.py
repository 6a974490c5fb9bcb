"""The access log: what was asked, by whom, and how it was answered."""

import logging
import re

import pytest
from starlette.testclient import TestClient

from quetz.deployment import Deployment
from quetz.web.access_log import NAME
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
