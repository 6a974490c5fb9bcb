import hashlib

import pytest

from quetz.conda.archives import read_archive
from quetz.db.models import Event, File
from quetz.errors import PackageExists, QuotaExceeded
from quetz.plugins import load_plugins
from quetz.services.imports import Import, record_imports, sort_out
from quetz.services.permissions import OPERATOR
from quetz.services.quotas import reserve
from quetz.services.uploads import Received
from quetz.testing.factories import make_channel
from quetz.testing.packages import build_package

PLUGINS = load_plugins([])


@pytest.fixture
def make_import(tmp_path):
    def make(name="pkg", content=b"") -> Import:
        path = build_package(tmp_path, name, files={"a": content})
        data = path.read_bytes()
        sha256, md5 = hashlib.sha256(data).hexdigest(), hashlib.md5(data).hexdigest()
        return Import(Received(read_archive(path, path.name), len(data), sha256, md5))

    return make


def test_bytes_that_came_meanwhile_are_not_recorded_twice(session, make_import):
    make_channel(session, "forge")
    record_imports(session, PLUGINS, OPERATOR, "forge", [make_import()])

    verdict = record_imports(
        session, PLUGINS, OPERATOR, "forge", [make_import(), make_import("other")]
    )

    assert (verdict.unchanged, [one.name for one in verdict.accepted]) == (1, ["other"])
    assert session.query(File).count() == session.query(Event).count() == 2


def test_a_name_that_was_taken_meanwhile_is_refused_alone(session, make_import):
    make_channel(session, "forge")
    record_imports(session, PLUGINS, OPERATOR, "forge", [make_import(content=b"theirs")])

    verdict = record_imports(
        session, PLUGINS, OPERATOR, "forge", [make_import(content=b"ours"), make_import("other")]
    )

    [refusal] = verdict.refused
    assert refusal.path == "noarch/pkg-1.0-0.conda"
    assert isinstance(refusal.error, PackageExists)
    assert {file.name for file in session.query(File)} == {"pkg", "other"}


def test_what_uploads_have_reserved_is_no_room(session, make_import):
    one = make_import()
    make_channel(session, "small", size_limit=one.received.size + 10)
    reserve(session, "small", 11)

    verdict = sort_out(session, OPERATOR, "small", [one])

    [refusal] = verdict.refused
    assert isinstance(refusal.error, QuotaExceeded)
