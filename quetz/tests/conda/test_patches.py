import io
import json
import tarfile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quetz.conda import patches
from quetz.conda.faults import Fault
from quetz.conda.patches import apply_patch, find_patch, parse_instructions, read_patches
from quetz.conda.texts import encode_json
from quetz.errors import BadArchive
from quetz.testing.packages import build_package, pack_conda, pack_tar

DOCUMENT = "noarch/patch_instructions.json"
IDENTITY = {
    "name": "app",
    "version": "1.0",
    "build": "0",
    "build_number": 0,
    "subdir": "noarch",
    "sha256": "0" * 64,
    "md5": "0" * 32,
    "size": 10,
    "indexed_timestamp": 1_700_000_000_000,
}
RECORD = IDENTITY | {"depends": ["python"], "constrains": ["six"], "license": "MIT"}


def parse(instructions: Any, *, size: int = 1 << 18) -> dict[str, str]:
    data = json.dumps({"patch_instructions_version": 1} | instructions).encode()
    return parse_instructions(DOCUMENT, (data[at : at + size] for at in range(0, len(data), size)))


def patched(
    instructions: Any, filename: str = "app-1.0-0.conda", exports: str = "{}"
) -> tuple[dict[str, Any], dict[str, Any], bool]:
    """Return the record and the run_exports after the instructions, and if the file is removed."""
    patch = find_patch(parse(instructions), filename)
    if patch is None:
        return RECORD, json.loads(exports), False
    record, exports = apply_patch(patch, encode_json(RECORD), exports)
    return json.loads(record), json.loads(exports), patch.removed


def fix(**fields: Any) -> dict[str, Any]:
    return {"packages.conda": {"app-1.0-0.conda": fields}}


def test_a_field_is_replaced_as_a_whole_and_the_others_stay():
    record, _, _ = patched(fix(depends=["numpy >=2"]))

    assert record == RECORD | {"depends": ["numpy >=2"]}


def test_a_field_that_the_record_lacks_is_added():
    record, _, _ = patched(fix(track_features="slow"))

    assert record == RECORD | {"track_features": "slow"}


@pytest.mark.parametrize(
    "field",
    [*IDENTITY, "url", "fn", "attestations_sha256", "schema_version"],
)
def test_what_a_file_is_cannot_be_patched(field):
    record, _, _ = patched(fix(**{field: "changed", "license": "BSD"}))

    assert record == RECORD | {"license": "BSD"}


@pytest.mark.parametrize(
    ("field", "left"),
    [("depends", {"depends": []}), ("constrains", {"constrains": []}), ("license", {})],
)
def test_null_leaves_what_clients_can_read(field, left):
    record, _, _ = patched(fix(**{field: None}))

    assert record == {key: value for key, value in RECORD.items() if key != field} | left


def test_a_fix_of_a_tar_bz2_is_also_meant_for_the_conda_of_the_same_name():
    record, _, _ = patched({"packages": {"app-1.0-0.tar.bz2": {"license": "BSD"}}})

    assert record == RECORD | {"license": "BSD"}


def test_a_fix_of_a_conda_is_not_meant_for_the_tar_bz2():
    assert patched(fix(license="BSD"), "app-1.0-0.tar.bz2") == (RECORD, {}, False)


def test_of_two_fixes_the_own_goes_before():
    shared = {"packages": {"app-1.0-0.tar.bz2": {"license": "BSD", "depends": []}}}

    record, _, _ = patched(shared | fix(license="ISC"))

    assert record == RECORD | {"license": "ISC", "depends": []}


@pytest.mark.parametrize("filename", ["app-1.0-0.tar.bz2", "app-1.0-0.conda"])
def test_what_is_revoked_cannot_be_installed_any_more(filename):
    record, _, removed = patched({"revoke": ["app-1.0-0.tar.bz2"]}, filename)

    assert record == RECORD | {"revoked": True, "depends": ["python", "package_has_been_revoked"]}
    assert not removed


def test_what_is_revoked_keeps_its_fixes():
    record, _, _ = patched(fix(depends=["numpy"]) | {"revoke": ["app-1.0-0.conda"]})

    assert record["depends"] == ["numpy", "package_has_been_revoked"]


@pytest.mark.parametrize("filename", ["app-1.0-0.tar.bz2", "app-1.0-0.conda"])
def test_what_is_removed_says_so_and_has_its_record(filename):
    assert patched({"remove": ["app-1.0-0.tar.bz2"]}, filename) == (RECORD, {}, True)


def test_version_2_replaces_the_run_exports_and_leaves_the_record():
    instructions = {"patch_instructions_version": 2} | fix(run_exports={"weak": ["app >=1"]})

    record, exports, _ = patched(instructions, exports='{"strong":["app"]}')

    assert record == RECORD
    assert exports == {"weak": ["app >=1"]}


def test_run_exports_that_are_null_are_none():
    instructions = {"patch_instructions_version": 2} | fix(run_exports=None)

    assert patched(instructions, exports='{"strong":["app"]}')[1] == {}


def test_version_1_knows_no_run_exports():
    instructions = fix(run_exports={"weak": ["app >=1"]}, license="BSD")

    record, exports, _ = patched(instructions, exports='{"strong":["app"]}')

    assert record == RECORD | {"license": "BSD"}
    assert exports == {"strong": ["app"]}


def test_nothing_is_kept_that_changes_nothing():
    names = {"app-1.0-0.conda": {"name": "x", "run_exports": {}}, "App 1.conda": {"license": "x"}}

    assert parse({"packages.conda": names, "packages": {"a-1-0.conda": {"license": "x"}}}) == {}


@pytest.mark.parametrize("piece", [1, 7, 1 << 18])
def test_unknown_keys_of_any_size_are_passed_over(piece):
    large = {f"app-{number}-0.whl": {"depends": ["python"] * 20} for number in range(500)}

    read = parse({"v3": {"whl": large, "more": [[large]]}, "comment": 1} | fix(license="BSD"))
    in_pieces = parse({"comment": {"a": [1, {}]}} | fix(license="BSD"), size=piece)

    assert read == in_pieces == {"app-1.0-0.conda": '{"fields":{"license":"BSD"}}'}


@pytest.mark.parametrize(
    ("instructions", "fault"),
    [
        ({"patch_instructions_version": 3}, "version: is 3; this server knows 1 and 2"),
        ({"patch_instructions_version": True}, "version: is true; this server knows 1 and 2"),
        ({"patch_instructions_version": None}, "version: is null; this server knows 1 and 2"),
        ({"packages": []}, "expected '{'"),
        ({"packages": {"app-1.0-0.tar.bz2": []}}, "packages: app-1.0-0.tar.bz2: is no object"),
        ({"remove": {}}, r"expected '\['"),
        ({"revoke": [1]}, r"revoke\[0\]: is no file name"),
        (fix(depends="python"), "app-1.0-0.conda: Expected `array`"),
        (fix(depends=["python >"]), r"app-1.0-0.conda: depends\[0\]: 'python >'"),
        (fix(constrains=[1]), "app-1.0-0.conda: Expected `str`"),
        (fix(timestamp=99_999_999_999_999), "app-1.0-0.conda: timestamp: .* in the future"),
        (fix(run_exports={"weak": "app"}), "app-1.0-0.conda: run_exports: weak: Expected `array`"),
        ({"v3": {"a": "\0"}}, "holds NUL"),
        ({"v3": json.loads("[" * 70 + "]" * 70)}, "deeper than 64 levels"),
    ],
)
def test_what_is_no_sound_instruction_is_refused_with_its_place(instructions, fault):
    with pytest.raises(Fault, match=f"^{DOCUMENT}.*{fault}"):
        parse(instructions)


def test_a_document_without_a_version_is_refused():
    with pytest.raises(Fault, match="patch_instructions_version: is missing"):
        parse_instructions(DOCUMENT, [b'{"packages":{}}'])


FIXES = st.dictionaries(
    st.sampled_from(["depends", "constrains", "license", "sha256", "size", "extra"]),
    st.none() | st.lists(st.sampled_from(["python", "six >=1"]), max_size=2),
)
FILES = st.sampled_from(["app-1.0-0", "app-2.0-0", "other-1.0-0"])


@given(
    st.dictionaries(FILES, FIXES.map(lambda fix: fix | {"license": None})),
    st.dictionaries(FILES, FIXES.map(lambda fix: fix | {"license": "BSD"})),
    st.lists(FILES),
    st.lists(FILES),
)
def test_whatever_the_instructions_a_record_stays_that_of_its_file(legacy, modern, gone, bad):
    read = parse(
        {
            "packages": {f"{stem}.tar.bz2": fix for stem, fix in legacy.items()},
            "packages.conda": {f"{stem}.conda": fix for stem, fix in modern.items()},
            "remove": [f"{stem}.tar.bz2" for stem in gone],
            "revoke": [f"{stem}.conda" for stem in bad],
        }
    )

    patch = find_patch(read, "app-1.0-0.conda")

    touched = [names for names in (legacy, modern, gone, bad) if "app-1.0-0" in names]
    assert (patch is not None) == bool(touched)
    if patch is not None:
        record = json.loads(apply_patch(patch, encode_json(RECORD), "{}")[0])
        assert {key: record[key] for key in IDENTITY} == IDENTITY
        assert isinstance(record["depends"], list)
        assert ("revoked" in record) == ("app-1.0-0" in bad)
        assert patch.removed == ("app-1.0-0" in gone)


# Packages


@pytest.fixture
def pack(tmp_path):
    """Return a function that reads the patches of a package with these files."""

    def read(files: dict[str, bytes], suffix: str = ".conda") -> dict[str, dict[str, str]]:
        path = build_package(tmp_path, "forge-repodata-patches", suffix=suffix, files=files)
        with path.open("rb") as file:
            return read_patches(file, path.name)

    return read


def instructions(**fields: Any) -> bytes:
    return json.dumps({"patch_instructions_version": 1} | fix(**fields)).encode()


@pytest.mark.parametrize("suffix", [".conda", ".tar.bz2"])
def test_the_documents_of_a_package_are_found_by_subdir(pack, suffix):
    files = {
        "noarch/patch_instructions.json": instructions(license="BSD"),
        "linux-64/patch_instructions.json": instructions(license="MIT"),
        "share/noarch/patch_instructions.json": b"elsewhere",
        "linux-64/readme.txt": b"something else",
    }

    assert pack(files, suffix) == {
        "noarch": {"app-1.0-0.conda": '{"fields":{"license":"BSD"}}'},
        "linux-64": {"app-1.0-0.conda": '{"fields":{"license":"MIT"}}'},
    }


def test_a_large_document_is_read_to_its_end(pack):
    fixes = {f"app-{number}-0.conda": {"license": "BSD"} for number in range(20_000)}
    document = {"packages.conda": fixes, "patch_instructions_version": 1, "revoke": ["z-1-0.conda"]}

    read = pack({DOCUMENT: json.dumps(document).encode()})

    assert len(read["noarch"]) == 20_001


@pytest.mark.parametrize("suffix", [".conda", ".tar.bz2"])
@pytest.mark.parametrize(
    ("files", "fault"),
    [
        ({}, "<subdir>/patch_instructions.json: is missing"),
        ({"patch_instructions.json": b"{}"}, "<subdir>/patch_instructions.json: is missing"),
        ({DOCUMENT: b"{"}, f"{DOCUMENT}: expected"),
        ({DOCUMENT: b"\xff"}, f"{DOCUMENT}: not UTF-8"),
        ({DOCUMENT: instructions(), f"./{DOCUMENT}": b""}, f"{DOCUMENT}: is there twice"),
        ({DOCUMENT: b" " * 10_001 + instructions()}, f"{DOCUMENT}: is larger than 10000 bytes"),
        ({"noise": b"1" * 40_000, DOCUMENT: instructions()}, "larger than 30000 bytes"),
    ],
)
def test_a_package_without_sound_instructions_is_refused(pack, monkeypatch, suffix, files, fault):
    monkeypatch.setattr(patches, "DOCUMENT_LIMIT", 10_000)
    monkeypatch.setattr(patches, "PACKAGE_LIMIT", 30_000)

    with pytest.raises(BadArchive, match=f"'forge-repodata-patches-1.0-0{suffix}'.*{fault}"):
        pack(files, suffix)


@pytest.mark.parametrize(
    ("documents", "fault"),
    [
        (
            [{"remove": ["a-1-0.conda", "b-1-0.conda"], "revoke": ["a-1-0.conda"], "packages": 1}],
            "revoke: the package names more than 2 files",
        ),
        ([{"revoke": ["a-1-0.conda"] * 3}], "revoke: the package names more than 2 files"),
        (
            [{"packages": {f"a-{n}-0.conda": {} for n in range(3)}}],
            "packages: the package names more than 2 files",
        ),
        (
            [{"remove": ["a-1-0.conda", "b-1-0.conda"]}, fix(license="BSD")],
            "packages.conda: the package names more than 2 files",
        ),
        ([fix(depends=["a", "b", "c", "d"])], r"depends\[3\]: the package has more than 3 diff"),
        (
            [fix(depends=["a", "b"]), fix(constrains=["b", "c"], run_exports=["d"])],
            r"weak\[0\]: the package has more than 3 different specifications",
        ),
        ([fix(depends=["a" * 40, "b" * 61])], r"depends\[1\]: .* are longer than 100 characters"),
        ([{"v3": [1, {"a": 2}]}, {"v3": {"b": []}}], "too many values under unknown keys, at"),
        ([{"comment": "long" * 60}, {"comment": "long" * 60}], "documents are larger than 500 b"),
    ],
)
def test_there_is_an_end_to_what_one_package_may_say(pack, monkeypatch, documents, fault):
    monkeypatch.setattr(patches, "MOST_FILES", 2)
    monkeypatch.setattr(patches, "MOST_SPECS", 3)
    monkeypatch.setattr(patches, "SPECS_LIMIT", 100)
    monkeypatch.setattr(patches, "MOST_UNKNOWN", 5)
    monkeypatch.setattr(patches, "DOCUMENTS_LIMIT", 500)
    files = {
        f"{subdir}/patch_instructions.json": json.dumps({"patch_instructions_version": 1} | said)
        for subdir, said in zip(("noarch", "linux-64"), documents, strict=False)
    }

    with pytest.raises(BadArchive, match=fault):
        pack({name: text.encode() for name, text in files.items()})


def test_each_specification_of_a_package_is_read_once(pack, monkeypatch):
    read: list[str] = []
    monkeypatch.setattr(patches, "check_spec", lambda _field, spec: read.append(spec))
    same = instructions(depends=["python", "six"], constrains=["six"])

    pack({DOCUMENT: same, "linux-64/patch_instructions.json": same})

    assert read == ["python", "six"]


def test_a_link_is_no_document(tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo(DOCUMENT)
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member)
    file = io.BytesIO(pack_conda("p-1-0", pack_tar({}), buffer.getvalue()))

    with pytest.raises(BadArchive, match=f"{DOCUMENT}: is no regular file"):
        read_patches(file, "p-1-0.conda")


def test_a_payload_that_was_cut_is_refused():
    payload = pack_tar({DOCUMENT: instructions(license="BSD")})
    file = io.BytesIO(pack_conda("p-1-0", pack_tar({}), payload[:700]))

    with pytest.raises(BadArchive, match=r"pkg-p-1-0\.tar\.zst: is cut off"):
        read_patches(file, "p-1-0.conda")
