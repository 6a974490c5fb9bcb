"""Index documents in gzip, as uploaded, and in pieces."""

import asyncio
import gzip
import json
import time
from collections import Counter
from unittest.mock import Mock

import pytest

from quetz.conda import gzip_members
from quetz.conda.pieces import TornDocument
from quetz.services.index_zips import ZippedDocuments
from quetz.services.publishing import IndexFile, read_file
from quetz.storage.keys import parse_index_key
from quetz.storage.local import LocalStore
from quetz.testing.packages import build_package
from quetz.testing.publishing import publish_all
from quetz.tests.web.readers import get, raw
from quetz.web import authentication, index_forms
from quetz.web.index_forms import SUBDIR_FORMS, IndexForms, Place


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


def test_an_alias_of_a_document_is_not_zipped_anew(client, package, monkeypatch):
    monkeypatch.setattr(index_forms, "KEPT_SIZE", 100)
    deflate = Mock(wraps=gzip_members._deflate)
    monkeypatch.setattr(gzip_members, "_deflate", deflate)

    for form in ("repodata.json", "repodata_from_packages.json"):
        read_zipped(client, f"/get/forge/linux-64/{form}")

    deflate.assert_called_once()


def test_a_gzip_form_of_a_file_that_was_collected_meanwhile_is_not_left(
    client, package, deployment, monkeypatch
):
    monkeypatch.setattr(index_forms, "KEPT_SIZE", 100)
    store, write = deployment.store, LocalStore.write_index

    def collect(self, key, parts):
        write(self, key, parts)
        if str(key).endswith(".gz"):
            store.delete_index(parse_index_key(str(key).removesuffix(".gz") + ".zst"))

    monkeypatch.setattr(LocalStore, "write_index", collect)

    answer = get(client, "/get/forge/linux-64/repodata.json", Accept_Encoding="gzip")

    assert answer.status_code == 503
    assert not list((deployment.path / "store" / "index").rglob("*.gz"))


def test_states_of_a_document_are_zipped_one_after_the_other(deployment, monkeypatch):
    monkeypatch.setattr(index_forms, "KEPT_SIZE", 100)
    under_way, most = [], []

    def make(_self, file):
        under_way.append(file)
        most.append(len(under_way))
        time.sleep(0.05)
        under_way.remove(file)
        raise TornDocument

    monkeypatch.setattr(ZippedDocuments, "make", make)
    forms = IndexForms(deployment.store)
    files = [
        IndexFile(f"index/1/noarch/{stem}-{n}-0a.json.zst", 1, "", 1_000)
        for stem in ("repodata", "run_exports")
        for n in range(4)
    ]

    async def ask() -> None:
        place = Place(1, "noarch", "public", 0)
        form = SUBDIR_FORMS["repodata.json.gz"]
        asked = [forms.published(place, form, file, 0, frozenset()) for file in files]
        await asyncio.gather(*asked, return_exceptions=True)

    asyncio.run(ask())

    assert len(most) == len(files)
    assert max(most) == 2  # one of each document


def test_a_client_that_asks_in_many_words_has_a_document_kept_once(client, package, monkeypatch):
    monkeypatch.setattr(authentication, "TRUST_SECONDS", 60.0)
    monkeypatch.setattr(index_forms, "MEMORY", 0)  # what was found for a request is kept still
    path, reads = "/get/forge/linux-64/repodata.json", Counter[str]()

    def counting_read(store, file):
        reads[file.key] += 1
        return read_file(store, file)

    monkeypatch.setattr(index_forms, "read_file", counting_read)

    for number in range(9):
        get(client, path, Accept_Encoding=f"gzip, x-{number}")
        get(client, path, Accept_Encoding=f"gzip;q=0.{number + 1}, br")

    assert list(reads.values()) == [1]


def test_former_states_of_an_index_take_no_room_from_others(
    client, key, channel, deployment, tmp_path, monkeypatch
):
    monkeypatch.setattr(index_forms, "MEMORY", 12_000)  # of two documents, and not of six
    reads = Counter[str]()

    def counting_read(store, file):
        reads[file.key] += 1
        return read_file(store, file)

    def publish(name, subdir):
        package = build_package(tmp_path, name=name, subdir=subdir)
        path = f"/api/channels/forge/upload/{package.name}"
        client.post(path, content=package.read_bytes(), headers=key)
        publish_all(deployment)

    publish("quiet", "noarch")
    monkeypatch.setattr(index_forms, "read_file", counting_read)
    get(client, "/get/forge/noarch/repodata.json")
    for number in range(6):
        publish(f"pkg{number}", "linux-64")
        get(client, "/get/forge/linux-64/repodata.json")
    get(client, "/get/forge/noarch/repodata.json")

    assert len(reads) == 7
    assert max(reads.values()) == 1


def read_zipped(client, path) -> set[str]:
    document = json.loads(gzip.decompress(raw(client, path, Accept_Encoding="gzip")))
    return document["packages.conda"].keys()


def test_what_was_uploaded_is_what_is_shown_while_nothing_changes_records(client, package):
    shown = get(client, "/get/forge/linux-64/repodata.json")
    uploaded = get(client, "/get/forge/linux-64/repodata_from_packages.json")

    assert uploaded.json() == shown.json()
