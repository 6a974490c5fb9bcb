"""What every object store promises: a suite for drivers.

A test module gives the driver as the fixture ``store``, and subclasses ``StoreConformance``.
"""

import hashlib
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from quetz.errors import ObjectMissing
from quetz.storage import ObjectStore, Slice, StagedFile, StoreKey
from quetz.storage.keys import index_key, object_key

MISSING = object_key("0" * 64)
MISSING_INDEX = index_key(7, "noarch", "repodata.json")


def put_bytes(store: ObjectStore, content: bytes) -> StoreKey:
    """Put an object and return its key."""
    with store.stage() as stage:
        stage.write(content)
        stage.finish()
        key = object_key(stage.sha256)
        store.put(stage, key)
    return key


def leave_bytes(store: ObjectStore, content: bytes) -> StagedFile:
    with store.stage() as stage:
        stage.write(content)
        return stage.leave()


def read_bytes(store: ObjectStore, key: StoreKey) -> bytes:
    with store.open_file(key) as file:
        return file.read()


class StoreConformance:
    """Tests of the promises in ``ObjectStore``."""

    @pytest.mark.parametrize(
        "chunks",
        [
            pytest.param([], id="empty"),
            pytest.param([b"a"], id="one byte"),
            pytest.param([b"small", b"", b"x" * 1_000_000, b"y" * 300_000, b"end"], id="mixed"),
            pytest.param([bytes([number]) * 2**20 for number in range(12)], id="large"),
        ],
    )
    def test_a_stage_knows_size_and_hashes_of_what_was_written(
        self, store: ObjectStore, chunks: list[bytes]
    ) -> None:
        whole = b"".join(chunks)

        with store.stage() as stage:
            for chunk in chunks:
                stage.write(chunk)
            stage.finish()

            assert stage.size == len(whole)
            assert stage.sha256 == hashlib.sha256(whole).hexdigest()
            assert stage.md5 == hashlib.md5(whole).hexdigest()
            assert stage.path.read_bytes() == whole

    def test_what_was_put_is_read_back(self, store: ObjectStore) -> None:
        key = put_bytes(store, b"content")

        assert read_bytes(store, key) == b"content"
        assert store.size(key) == 7
        assert list(store.list_objects()) == [(hashlib.sha256(b"content").hexdigest(), 7)]

    def test_an_object_may_be_empty(self, store: ObjectStore) -> None:
        key = put_bytes(store, b"")

        assert read_bytes(store, key) == b""
        assert store.size(key) == 0

    def test_an_unfinished_stage_is_finished_when_it_is_put(self, store: ObjectStore) -> None:
        with store.stage() as stage:
            stage.write(b"content")
            store.put(stage, object_key(hashlib.sha256(b"content").hexdigest()))

        assert read_bytes(store, object_key(stage.sha256)) == b"content"

    def test_a_path_names_the_bytes(self, store: ObjectStore) -> None:
        path = store.path(put_bytes(store, b"content"))

        assert path is None or path.read_bytes() == b"content"

    def test_the_same_bytes_can_be_put_again(self, store: ObjectStore) -> None:
        put_bytes(store, b"content")

        key = put_bytes(store, b"content")

        assert read_bytes(store, key) == b"content"
        assert len(list(store.list_objects())) == 1

    def test_right_bytes_are_not_set_aside(self, store: ObjectStore) -> None:
        key = put_bytes(store, b"content")

        assert store.set_aside(key) is None
        assert store.set_aside(object_key("0" * 64)) is None

        assert read_bytes(store, key) == b"content"

    def test_what_stages_leave_is_put_at_once(self, store: ObjectStore) -> None:
        contents = [f"content {number}".encode() for number in range(50)] + [b"", b"content 7"]
        put_bytes(store, b"content 3")

        left = [leave_bytes(store, content) for content in contents]
        store.put_many(left)

        listed = dict(store.list_objects())
        assert listed == {hashlib.sha256(one).hexdigest(): len(one) for one in contents}
        assert [read_bytes(store, object_key(file.sha256)) for file in left] == contents
        assert not any(file.path.exists() for file in left)

    def test_a_stage_that_was_left_is_not_discarded_with_it(self, store: ObjectStore) -> None:
        with store.stage() as stage:
            stage.write(b"content")
            left = stage.leave()

        assert left.path.read_bytes() == b"content"
        assert (left.size, left.sha256) == (7, hashlib.sha256(b"content").hexdigest())
        assert left.md5 == hashlib.md5(b"content").hexdigest()
        left.discard()
        left.discard()
        assert not left.path.exists()

    def test_one_that_was_sent_elsewhere_stages_what_this_one_puts(
        self, store: ObjectStore
    ) -> None:
        other: ObjectStore = pickle.loads(pickle.dumps(store))

        store.put_many([leave_bytes(other, b"content")])
        other.close()

        [(sha256, _)] = store.list_objects()
        assert read_bytes(store, object_key(sha256)) == b"content"

    def test_bytes_are_not_put_under_the_hash_of_others(self, store: ObjectStore) -> None:
        with store.stage() as stage:
            stage.write(b"content")

            with pytest.raises(ValueError, match="not those of"):
                store.put(stage, MISSING)

        assert list(store.list_objects()) == []

    def test_a_stage_that_was_put_is_used_up(self, store: ObjectStore) -> None:
        with store.stage() as stage:
            stage.write(b"content")
            store.put(stage, object_key(hashlib.sha256(b"content").hexdigest()))

            assert not stage.path.exists()

    def test_a_stage_that_was_not_put_leaves_nothing(self, store: ObjectStore) -> None:
        with store.stage() as stage:
            stage.write(b"content")

        assert not stage.path.exists()
        assert list(store.list_objects()) == []

    def test_a_stage_can_be_discarded_again(self, store: ObjectStore) -> None:
        stage = store.stage()
        stage.discard()

        stage.discard()

        assert not stage.path.exists()

    def test_a_finished_stage_takes_no_more(self, store: ObjectStore) -> None:
        with store.stage() as stage:
            stage.finish()
            stage.finish()

            with pytest.raises(ValueError, match="finished"):
                stage.write(b"more")

    def test_stages_are_apart(self, store: ObjectStore) -> None:
        with store.stage() as one, store.stage() as other:
            one.write(b"one")
            other.write(b"other")
            one.finish()

            assert one.path.read_bytes() == b"one"

    def test_an_object_that_is_missing_says_so(self, store: ObjectStore) -> None:
        assert store.size(MISSING) is None
        with pytest.raises(ObjectMissing, match="0000"):
            store.open_file(MISSING)

    def test_a_deleted_object_is_missing(self, store: ObjectStore) -> None:
        key = put_bytes(store, b"content")

        store.delete(key)

        assert store.size(key) is None
        assert list(store.list_objects()) == []

    def test_a_missing_object_can_be_deleted(self, store: ObjectStore) -> None:
        store.delete(MISSING)

        assert list(store.list_objects()) == []

    def test_a_deleted_object_can_be_put_again(self, store: ObjectStore) -> None:
        store.delete(put_bytes(store, b"content"))

        key = put_bytes(store, b"content")

        assert read_bytes(store, key) == b"content"

    def test_who_reads_an_object_reads_on_when_it_is_deleted(self, store: ObjectStore) -> None:
        content = bytes(range(256)) * 4096
        key = put_bytes(store, content)
        with store.open_file(key) as file:
            start = file.read(10)

            store.delete(key)

            assert start + file.read() == content

    def test_all_objects_are_listed_and_no_index_file(self, store: ObjectStore) -> None:
        contents = [str(number).encode() for number in range(100)]
        for content in contents:
            put_bytes(store, content)
        store.write_index(MISSING_INDEX, b"{}")

        listed = dict(store.list_objects())

        assert listed == {hashlib.sha256(one).hexdigest(): len(one) for one in contents}

    def test_many_may_put_the_same_bytes_at_once(self, store: ObjectStore) -> None:
        content = b"the same " * 1000

        with ThreadPoolExecutor(8) as threads:
            keys = list(threads.map(lambda _: put_bytes(store, content), range(40)))

        assert set(map(str, keys)) == {str(object_key(hashlib.sha256(content).hexdigest()))}
        assert read_bytes(store, keys[0]) == content

    def test_an_index_file_is_read_back_and_replaced(self, store: ObjectStore) -> None:
        store.write_index(MISSING_INDEX, b"old")
        assert store.read_index(MISSING_INDEX) == b"old"

        store.write_index(MISSING_INDEX, b"newer")

        assert store.read_index(MISSING_INDEX) == b"newer"
        assert store.size(MISSING_INDEX) == 5
        assert read_bytes(store, MISSING_INDEX) == b"newer"

    def test_an_index_file_that_is_missing_is_none(self, store: ObjectStore) -> None:
        assert store.read_index(MISSING_INDEX) is None
        assert store.size(MISSING_INDEX) is None
        assert list(store.list_index()) == []
        assert list(store.list_index(7)) == []

    def test_a_store_has_all_files_that_were_written_and_none_beside(
        self, store: ObjectStore
    ) -> None:
        keys = [index_key(1, "noarch", "a.json"), index_key(1, "linux-64", "b.json")]
        for key in keys:
            store.write_index(key, b"data")

        assert store.has_all([])
        assert store.has_all(keys)
        assert not store.has_all([*keys, index_key(1, "noarch", "b.json")])
        assert not store.has_all([index_key(2, "noarch", "a.json")])

    def test_a_deleted_index_file_is_missing(self, store: ObjectStore) -> None:
        store.write_index(MISSING_INDEX, b"{}")

        store.delete_index(MISSING_INDEX)
        store.delete_index(MISSING_INDEX)

        assert store.read_index(MISSING_INDEX) is None
        assert list(store.list_index()) == []

    def test_index_files_are_listed_by_channel(self, store: ObjectStore) -> None:
        mine = [index_key(1, "noarch", "a.json"), index_key(1, "", "channeldata.json")]
        other = index_key(11, "linux-64", "a.json")
        for key in [*mine, other]:
            store.write_index(key, b"{}")
        put_bytes(store, b"content")

        assert set(store.list_index(1)) == set(map(str, mine))
        assert set(store.list_index()) == set(map(str, [*mine, other]))

    def test_an_object_is_not_written_as_an_index_file(self, store: ObjectStore) -> None:
        key = put_bytes(store, b"content")

        with pytest.raises(ValueError, match="index file"):
            store.write_index(key, b"other")

        assert read_bytes(store, key) == b"content"

    def test_an_index_file_is_made_of_slices_of_others(self, store: ObjectStore) -> None:
        large = bytes(range(256)) * 4096
        sources = [index_key(7, "noarch", "large"), index_key(8, "", "small")]
        for source, content in zip(sources, [large, b"0123456789"], strict=True):
            store.write_index(source, content)

        parts: list[bytes | Slice] = [
            b"start ",
            Slice(sources[0], 5, len(large)),
            b"",
            Slice(sources[1], 0, 3),
            Slice(sources[1], 4, 4),
            Slice(sources[0], 0, 7),
            b" end",
        ]
        store.write_index(MISSING_INDEX, iter(parts))

        made = b"start " + large[5:] + b"012" + large[:7] + b" end"
        assert store.read_index(MISSING_INDEX) == made
        assert [store.read_index(source) for source in sources] == [large, b"0123456789"]

    def test_an_index_file_is_made_of_slices_of_the_one_it_replaces(
        self, store: ObjectStore
    ) -> None:
        store.write_index(MISSING_INDEX, b"0123456789")

        store.write_index(MISSING_INDEX, [Slice(MISSING_INDEX, 5, 10), Slice(MISSING_INDEX, 0, 5)])

        assert store.read_index(MISSING_INDEX) == b"5678901234"

    def test_a_slice_of_what_is_missing_or_too_short_leaves_all_as_it_was(
        self, store: ObjectStore
    ) -> None:
        short, missing = index_key(7, "noarch", "short"), index_key(7, "noarch", "missing")
        store.write_index(short, b"0123456789")
        store.write_index(MISSING_INDEX, b"old")

        for part in (Slice(missing, 0, 5), Slice(short, 0, 11), Slice(short, 20, 21)):
            with pytest.raises(ObjectMissing):
                store.write_index(MISSING_INDEX, [b"start", Slice(short, 0, 10), part])

        assert store.read_index(MISSING_INDEX) == b"old"
        assert set(store.list_index()) == {str(short), str(MISSING_INDEX)}

    def test_parts_that_cannot_be_made_leave_all_as_it_was(self, store: ObjectStore) -> None:
        def parts() -> Iterator[bytes]:
            yield b"start"
            raise LookupError

        store.write_index(MISSING_INDEX, b"old")

        with pytest.raises(LookupError):
            store.write_index(MISSING_INDEX, parts())

        assert store.read_index(MISSING_INDEX) == b"old"

    def test_a_reader_sees_an_old_index_file_or_a_new_one(self, store: ObjectStore) -> None:
        versions = [bytes([number]) * 500_000 for number in range(8)]
        store.write_index(MISSING_INDEX, versions[0])

        with ThreadPoolExecutor(4) as threads:
            for version in versions * 3:
                threads.submit(store.write_index, MISSING_INDEX, version)
            seen = list(threads.map(lambda _: store.read_index(MISSING_INDEX), range(50)))

        assert set(seen) <= set(versions)

    def test_a_store_that_can_be_written_passes_its_check(self, store: ObjectStore) -> None:
        store.check()

        assert list(store.list_objects()) == []

    def test_closing_discards_the_stages(self, store: ObjectStore) -> None:
        stage = store.stage()
        stage.finish()

        store.close()
        store.close()

        assert not stage.path.exists()
