"""Summary, description and URL of a package: what its newest upload says that was not yanked."""

import pytest

from quetz.testing.packages import build_package
from quetz.tests.web.api.uploading import other_bytes, upload

PACKAGES = "/api/channels/forge/packages"
OLD = {"summary": "old", "description": "old words", "home": "https://old.example"}
NEW = {"summary": "evil", "home": "https://evil.example"}
OLD_TEXTS = {"summary": "old", "description": "old words", "url": "https://old.example"}
NEW_TEXTS = {"summary": "evil", "description": "old words", "url": "https://evil.example"}
NO_TEXTS = dict.fromkeys(OLD_TEXTS)


@pytest.fixture
def forge(alice):
    alice.post("/api/channels", json={"name": "forge", "private": False})


@pytest.fixture
def put(alice, forge, tmp_path):
    """Upload a version of the package with this ``about``; return the address of the file."""

    def put(version, about):
        package = build_package(tmp_path, version=version, about=about)
        assert upload(alice, None, package).status_code == 201
        return f"{PACKAGES}/pkg/versions/noarch/{package.name}"

    return put


def texts(client):
    package = client.get(f"{PACKAGES}/pkg").json()
    return {key: package[key] for key in OLD_TEXTS}


def test_a_yanked_file_says_nothing_of_its_package_until_it_is_restored(alice, anonymous, put):
    put("1.0", OLD)
    file = put("2.0", NEW)
    before = texts(anonymous)

    alice.post(f"{file}/yank", json={"reason": "malware"})

    assert before == NEW_TEXTS
    assert texts(anonymous) == OLD_TEXTS
    assert anonymous.get("/api/packages/search/", params={"q": "summary:evil"}).json() == []
    assert "evil.example" not in anonymous.get("/get/forge").text

    alice.post(f"{file}/restore")

    assert texts(anonymous) == NEW_TEXTS


def test_a_deleted_file_says_nothing_of_its_package(alice, anonymous, put):
    put("1.0", OLD)
    file = put("2.0", NEW)

    alice.delete(file)

    assert texts(anonymous) == OLD_TEXTS


def test_a_replaced_file_says_nothing_of_its_package(alice, anonymous, put, tmp_path):
    put("1.0", {"description": "old words"})
    put("2.0", NEW | {"description": "evil words"})
    package = other_bytes(tmp_path, version="2.0", about={"summary": "good"})

    upload(alice, None, package, force="true")

    assert texts(anonymous) == {"summary": "good", "description": "old words", "url": None}


def test_an_older_file_that_is_yanked_and_restored_changes_nothing(alice, anonymous, put):
    file = put("1.0", OLD | {"description": None})
    put("2.0", NEW | {"description": "words"})
    before = texts(anonymous)

    alice.post(f"{file}/yank")
    yanked = texts(anonymous)
    alice.post(f"{file}/restore")

    assert texts(anonymous) == yanked == before


def test_a_package_whose_files_are_all_yanked_keeps_only_what_it_was_made_with(
    alice, anonymous, put
):
    made = {"name": "pkg", "summary": "made", "description": "made words", "url": None}
    alice.post(PACKAGES, json=made)
    file = put("1.0", NEW)

    alice.post(f"{file}/yank")

    assert texts(anonymous) == NO_TEXTS | {"description": "made words"}
