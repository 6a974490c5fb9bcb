"""Index documents in gzip, as uploaded, and in pieces."""

import gzip
import json
from collections import Counter

import pytest

from quetz.services.publishing import read_file
from quetz.testing.packages import build_package
from quetz.testing.publishing import publish_all
from quetz.tests.web.readers import get, raw
from quetz.web import authentication, index_forms


def test_the_gzip_file_is_not_encoded_once_more(client, package):
    answer = get(client, "/get/forge/linux-64/repodata.json.gz", Accept_Encoding="gzip, zstd")

    assert answer.headers["content-type"] == "application/gzip"
    assert "content-encoding" not in answer.headers
    assert json.loads(gzip.decompress(answer.content))["packages.conda"].keys() == {package.name}


@pytest.mark.parametrize("form", ["repodata.json", "run_exports.json"])
def test_the_gzip_form_of_a_large_document_follows_each_change(
    client, key, package, deployment, tmp_path, monkeypatch, form
):
    monkeypatch.setattr(index_forms, "KEPT_SIZE", 100)
    path = f"/get/forge/linux-64/{form}"
    names = {package.name}

    for name in ("numpy-base", "scipy", "abc"):
        assert read_zipped(client, path) == names
        more = build_package(tmp_path, name=name, subdir="linux-64")
        upload = f"/api/channels/forge/upload/{more.name}"
        client.post(upload, content=more.read_bytes(), headers=key)
        publish_all(deployment)
        names.add(more.name)

    assert read_zipped(client, path) == names
    plain = raw(client, path, Accept_Encoding="identity")
    assert gzip.decompress(raw(client, path, Accept_Encoding="gzip")) == plain


def test_a_large_gzip_form_is_made_whole_when_the_one_before_is_gone(
    client, key, package, deployment, tmp_path, monkeypatch
):
    monkeypatch.setattr(index_forms, "KEPT_SIZE", 100)
    path = "/get/forge/linux-64/repodata.json"
    read_zipped(client, path)
    more = build_package(tmp_path, name="scipy", subdir="linux-64")
    client.post(f"/api/channels/forge/upload/{more.name}", content=more.read_bytes(), headers=key)
    publish_all(deployment)
    for file in (deployment.path / "store" / "index").rglob("*.json.gz"):
        file.unlink()

    assert read_zipped(client, path) == {package.name, more.name}


def test_a_client_that_asks_in_many_words_has_a_document_kept_once(client, package, monkeypatch):
    monkeypatch.setattr(authentication, "TRUST_SECONDS", 60.0)
    monkeypatch.setattr(index_forms, "MEMORY", 0)  # what was found for a request is kept still
    path, read, reads = "/get/forge/linux-64/repodata.json", read_file, Counter[object]()

    def counting_read(store, file):
        reads[file.key] += 1
        return read(store, file)

    monkeypatch.setattr(index_forms, "read_file", counting_read)

    for number in range(9):
        get(client, path, Accept_Encoding=f"gzip, x-{number}")
        get(client, path, Accept_Encoding=f"gzip;q=0.{number + 1}, br")

    assert list(reads.values()) == [1]


def read_zipped(client, path) -> set[str]:
    document = json.loads(gzip.decompress(raw(client, path, Accept_Encoding="gzip")))
    return document["packages.conda"].keys()


def test_what_was_uploaded_is_what_is_shown_while_nothing_changes_records(client, package):
    shown = get(client, "/get/forge/linux-64/repodata.json")
    uploaded = get(client, "/get/forge/linux-64/repodata_from_packages.json")

    assert uploaded.json() == shown.json()
