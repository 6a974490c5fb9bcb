import json
from hashlib import sha256

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from quetz.conda.shards import decode_shard_index, encode_shard, encode_shard_index
from quetz.conda.texts import encode_json
from quetz.conda.zstd import compress
from quetz.testing.packages import build_package
from quetz.testing.shard_reader import BadShards, read_all, read_index, read_shard

NAMES = st.from_regex(r"[a-z][a-z0-9]{0,9}", fullmatch=True)
INDEX = "https://example.org/t/token/forge/noarch/repodata_shards.msgpack.zst"
BASE = "https://example.org/t/token/forge/noarch"


@given(st.dictionaries(NAMES, st.binary(min_size=32, max_size=32)), st.integers(0, 2**41))
def test_digests_come_back_from_the_index(shards, created_at):
    assert decode_shard_index(encode_shard_index("noarch", created_at, shards)) == shards


@given(
    st.dictionaries(
        NAMES,
        st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    )
)
def test_a_record_keeps_its_fields_in_a_shard(fields):
    own = {"md5": "0" * 32, "sha256": "0f" * 32}
    text = msgspec.json.encode(fields | own).decode()

    shard = msgspec.msgpack.decode(encode_shard([("x-1-0.conda", text, '{"weak":["x"]}')]))

    expected = json.loads(text) | {"md5": bytes(16), "sha256": b"\x0f" * 32}
    assert shard == {
        "packages": {},
        "packages.conda": {"x-1-0.conda": expected | {"run_exports": {"weak": ["x"]}}},
        "removed": [],
    }


def test_a_shard_does_not_depend_on_the_order_it_came_in():
    record = encode_json({"md5": "0" * 32, "sha256": "0" * 64})
    files = [(f"x-1-{build}.tar.bz2", record, "{}") for build in range(5)]

    assert encode_shard(files) == encode_shard(reversed(files))


def test_the_index_says_where_and_when():
    about = msgspec.msgpack.decode(encode_shard_index("linux-64", 1_700_000_000_007, {}))["info"]

    assert about == {
        "base_url": "",
        "created_at": "2023-11-14T22:13:20.007Z",
        "shards_base_url": "./shards/",
        "subdir": "linux-64",
    }


def test_the_strict_reader_finds_every_record(tmp_path, publish):
    packages = [
        build_package(tmp_path, "a", suffix=".tar.bz2", run_exports=["a >=1"]),
        build_package(tmp_path, "a", "1!2.0", depends=["b"]),
        build_package(tmp_path, "b", license="Größe"),
    ]
    served = publish(packages)

    records = read_all(
        lambda url: served[url.removeprefix("https://x.org/")], "https://x.org/noarch"
    )

    assert set(records) == {path.name for path in packages}
    assert records["a-1.0-0.tar.bz2"]["run_exports"] == {"weak": ["a >=1"]}
    assert records["b-1.0-0.conda"]["license"] == "Größe"
    digest = sha256(packages[1].read_bytes()).digest()
    assert records["a-1!2.0-0.conda"]["sha256"] == digest


def test_urls_keep_the_prefix_a_client_came_by():
    data = compress(encode_shard_index("noarch", 0, {"a": bytes(32)}), 1)

    index = read_index({INDEX: data}.__getitem__, BASE)

    assert index.package_url("a-1-0.conda") == f"{BASE}/a-1-0.conda"
    assert index.shard_url("a") == f"{BASE}/shards/{'0' * 64}.msgpack.zst"


def sound_index():
    return msgspec.msgpack.decode(encode_shard_index("noarch", 0, {"a": bytes(32)}))


def without(document, key):
    return {k: v for k, v in document.items() if k != key}


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        *(
            pytest.param(lambda d, k=k: d | {"info": without(d["info"], k)}, k, id=f"no-{k}")
            for k in ("base_url", "shards_base_url", "subdir", "created_at")
        ),
        pytest.param(
            lambda d: d | {"info": d["info"] | {"base_url": None}}, "base_url", id="null-url"
        ),
        pytest.param(lambda d: without(d, "shards"), "shards", id="no-shards"),
        pytest.param(lambda d: d | {"version": 2}, "version", id="version"),
        pytest.param(lambda d: d | {"shards": {"a": "0" * 32}}, "bytes", id="text-hash"),
        pytest.param(lambda d: d | {"shards": {"a": bytes(31)}}, "32", id="short-hash"),
        pytest.param(lambda d: d | {"shards": {"A": bytes(32)}}, "package name", id="name"),
        pytest.param(
            lambda d: d | {"info": d["info"] | {"created_at": "today"}}, "created_at", id="moment"
        ),
    ],
)
def test_the_strict_reader_refuses_a_spoilt_index(spoil, reason):
    data = compress(msgspec.msgpack.encode(spoil(sound_index())), 1)

    with pytest.raises(BadShards, match=reason):
        read_index({INDEX: data}.__getitem__, BASE)


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(lambda raw: zstandard.compress(raw) * 2, id="two-frames"),
        pytest.param(lambda raw: zstandard.compress(raw) + b"x", id="bytes-behind"),
        pytest.param(
            zstandard.ZstdCompressor(write_content_size=False).compress, id="no-content-size"
        ),
        pytest.param(
            zstandard.ZstdCompressor(
                compression_params=zstandard.ZstdCompressionParameters(window_log=25)
            ).compress,
            id="wide-window",
        ),
        pytest.param(bytes, id="no-frame"),
        pytest.param(lambda raw: zstandard.compress(raw + b"\0"), id="more-than-one-map"),
    ],
)
def test_the_strict_reader_refuses_what_a_client_cannot_unpack(frame):
    index = sound_index() | {"padding": bytes(2**25)}
    data = frame(msgspec.msgpack.encode(index))

    with pytest.raises(BadShards):
        read_index({INDEX: data}.__getitem__, BASE)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        pytest.param(lambda r: r | {"md5": "0" * 16}, "md5", id="text-md5"),
        pytest.param(lambda r: without(r, "depends"), "depends", id="no-depends"),
        pytest.param(lambda r: without(r, "run_exports"), "run_exports", id="no-run-exports"),
        pytest.param(lambda r: r | {"name": "b"}, "calls itself", id="other-name"),
        pytest.param(lambda r: r | {"subdir": "linux-64"}, "calls itself", id="other-subdir"),
    ],
)
def test_the_strict_reader_refuses_a_spoilt_record(tmp_path, publish, spoil, reason):
    served = publish([build_package(tmp_path, "a")])
    fetch = {f"https://x.org/{path}": data for path, data in served.items()}
    index = read_index(fetch.__getitem__, "https://x.org/noarch")
    shard = msgspec.msgpack.decode(zstandard.decompress(fetch[index.shard_url("a")]))
    shard["packages.conda"] = {k: spoil(r) for k, r in shard["packages.conda"].items()}
    spoilt = compress(msgspec.msgpack.encode(shard), 1)
    index.shards["a"] = sha256(spoilt).digest()
    fetch[index.shard_url("a")] = spoilt

    with pytest.raises(BadShards, match=reason):
        read_shard(fetch.__getitem__, index, "a")


def test_the_strict_reader_checks_the_hash(tmp_path, publish):
    served = publish([build_package(tmp_path, "a")])
    fetch = {f"https://x.org/{path}": data for path, data in served.items()}
    index = read_index(fetch.__getitem__, "https://x.org/noarch")
    fetch[index.shard_url("a")] += b"\0"

    with pytest.raises(BadShards, match="another hash"):
        read_shard(fetch.__getitem__, index, "a")


def test_a_shard_names_removed_files_in_one_order():
    removed = ["x-2-0.conda", "x-1-0.tar.bz2"]

    shard = encode_shard([], removed)

    assert shard == encode_shard([], reversed(removed))
    assert msgspec.msgpack.decode(shard)["removed"] == ["x-1-0.tar.bz2", "x-2-0.conda"]
