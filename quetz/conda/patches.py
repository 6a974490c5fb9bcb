"""Hotfixes: ``patch_instructions.json``, by which a channel corrects records of its files.

Files stay as they are; what an index says of them changes. Known are the versions 1 and 2, as
conda-index and rattler-index apply them; 2 may hold run_exports (CEP 21).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO, Final

import msgspec

from quetz.conda.contents import read_run_exports
from quetz.conda.faults import Fault
from quetz.conda.filenames import PackageFilename
from quetz.conda.index_json import check_fields, check_spec
from quetz.conda.json_streams import JsonStream
from quetz.conda.names import is_subdir
from quetz.conda.strict_json import BadJson
from quetz.conda.tars import FILE, Member
from quetz.conda.texts import encode_json
from quetz.conda.unpacking import read_members
from quetz.errors import BadArchive, BadFilename

PACKAGE_SUFFIX: Final = "-repodata-patches"
DOCUMENT: Final = "patch_instructions.json"
DOCUMENT_LIMIT: Final = 64 << 20
DOCUMENTS_LIMIT: Final = 128 << 20
PACKAGE_LIMIT: Final = 1 << 30
MOST_FILES: Final = 300_000
"""What one package may name; for each there is a text in memory, and a row."""

MOST_UNKNOWN: Final = 2_000_000
"""Values under unknown keys of one package; to pass over them takes seconds."""

MOST_SPECS: Final = 50_000
SPECS_LIMIT: Final = 4 << 20
"""Different specifications of one package, and their characters: a million take over a second."""

_VERSION: Final = "patch_instructions_version"
_KNOWN_VERSIONS: Final = (1, 2)
_FIRST_WITH_RUN_EXPORTS: Final = 2
_RUN_EXPORTS: Final = "run_exports"
_LEGACY: Final = ".tar.bz2"
_MODERN: Final = ".conda"
# A hotfix is about what a file needs. These say which file it is, or what the server vouches for
# (CEP 47 for the timestamp), or how its record is to be read.
_KEPT: Final = frozenset(
    {"name", "version", "build", "build_number", "subdir", "fn", "url", "sha256", "md5", "size"}
    | {"indexed_timestamp", "attestations_sha256", "schema_version"}
)
_LISTS: Final = frozenset({"depends", "constrains"})
_REVOKED: Final = "package_has_been_revoked"


class Patch(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is done to the record of one file.

    ``fields`` replace fields of the record; one that is null goes away. ``run_exports`` replace
    all of the file's; None leaves them.
    """

    fields: dict[str, Any] = {}
    run_exports: dict[str, Any] | None = None
    revoked: bool = False
    removed: bool = False


_NOTHING: Final = Patch()
_DECODER: Final = msgspec.json.Decoder(Patch)


def patches_package(channel: str) -> str:
    """Return the name of the package that holds the hotfixes of a channel."""
    return channel.lower() + PACKAGE_SUFFIX


# Reading


def read_patches(file: BinaryIO, filename: str) -> dict[str, dict[str, str]]:
    """Return the patches in a package, as JSON text by subdir and file name.

    They are the payload's ``<subdir>/patch_instructions.json``; nothing else in it is read.

    Raises:
        BadFilename: ``filename`` is none of a package.
        BadArchive: the package is broken or too large, has no such document, or one that is none.
    """
    parts = PackageFilename.parse(filename)
    try:
        return _read_documents(file, parts)
    except Fault as fault:
        raise BadArchive(filename, fault.field, fault.reason) from None


def _read_documents(file: BinaryIO, filename: PackageFilename) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    totals = _Totals()
    for member, pieces in read_members(file, filename, PACKAGE_LIMIT):
        subdir = _subdir_of(member)
        if subdir is None:
            continue
        field = f"{subdir}/{DOCUMENT}"
        if subdir in found:
            raise Fault(field, "is there twice")
        if member.kind != FILE:
            raise Fault(field, "is no regular file")
        totals.add_document(field, member.size)
        found[subdir] = _parse(field, pieces, totals)
    if not found:
        raise Fault(f"<subdir>/{DOCUMENT}", f"is missing, such as noarch/{DOCUMENT}")
    return found


def _subdir_of(member: Member) -> str | None:
    folder, _, name = member.name.removeprefix("./").rpartition("/")
    return folder if name == DOCUMENT and is_subdir(folder) else None


def parse_instructions(field: str, pieces: Iterable[bytes]) -> dict[str, str]:
    """Return the patches of one document, as JSON text by file name; equal ones have equal texts.

    The document is never held as a whole. Keys that are unknown are passed over, and so are names
    that no file can have.

    Raises:
        Fault: it is no such document, of a later version, or says too much; ``field`` names it.
    """
    return _parse(field, pieces, _Totals())


def _parse(field: str, pieces: Iterable[bytes], totals: "_Totals") -> dict[str, str]:
    try:
        return _Instructions(field, JsonStream(pieces), totals).read()
    except BadJson as error:
        raise Fault(field, str(error)) from None


class _Totals:
    """What the documents of one package hold together, counted before it is read any further."""

    def __init__(self) -> None:
        self.unknown_left = MOST_UNKNOWN
        self._size = 0
        self._files = 0
        self._specs: set[str] = set()
        self._specs_size = 0

    def add_document(self, field: str, size: int) -> None:
        if size > DOCUMENT_LIMIT:
            raise Fault(field, f"is larger than {DOCUMENT_LIMIT} bytes")
        self._size += size
        if self._size > DOCUMENTS_LIMIT:
            raise Fault(field, f"the package's documents are larger than {DOCUMENTS_LIMIT} bytes")

    def add_file(self, field: str) -> None:
        self._files += 1
        if self._files > MOST_FILES:
            raise Fault(field, f"the package names more than {MOST_FILES} files")

    def check_specs(self, field: str, specs: list[str]) -> None:
        """Check those that no other fix of the package has."""
        for place, spec in enumerate(specs):
            if spec not in self._specs:
                self._add_spec(f"{field}[{place}]", spec)

    def _add_spec(self, field: str, spec: str) -> None:
        self._specs.add(spec)
        self._specs_size += len(spec)
        if len(self._specs) > MOST_SPECS:
            raise Fault(field, f"the package has more than {MOST_SPECS} different specifications")
        if self._specs_size > SPECS_LIMIT:
            wrong = f"the package's specifications are longer than {SPECS_LIMIT} characters"
            raise Fault(field, wrong)
        check_spec(field, spec)


class _Instructions:
    def __init__(self, field: str, stream: JsonStream, totals: _Totals) -> None:
        self._field = field
        self._stream = stream
        self._totals = totals
        self._version: Any = None
        self._texts: dict[str, str] = {}
        self._with_run_exports: list[str] = []
        self._removed: set[str] = set()
        self._revoked: set[str] = set()

    def read(self) -> dict[str, str]:
        readers: dict[str, Callable[[], None]] = {
            _VERSION: self._read_version,
            "packages": lambda: self._read_fixes("packages", _LEGACY),
            "packages.conda": lambda: self._read_fixes("packages.conda", _MODERN),
            "remove": lambda: self._read_names("remove", self._removed),
            "revoke": lambda: self._read_names("revoke", self._revoked),
        }
        for key in self._stream.keys():  # noqa: SIM118 - no dictionary
            readers.get(key, self._skip)()
        if self._version is None:
            raise Fault(f"{self._field}: {_VERSION}", "is missing")
        if self._version < _FIRST_WITH_RUN_EXPORTS:
            for filename in self._with_run_exports:
                self._amend(filename, run_exports=None)
        for filename in self._removed:
            self._amend(filename, removed=True)
        for filename in self._revoked:
            self._amend(filename, revoked=True)
        return self._texts

    def _skip(self) -> None:
        self._totals.unknown_left = self._stream.skip(self._totals.unknown_left)

    def _read_version(self) -> None:
        version = self._stream.value()
        if isinstance(version, bool) or version not in _KNOWN_VERSIONS:
            known = " and ".join(map(str, _KNOWN_VERSIONS))
            raise Fault(
                f"{self._field}: {_VERSION}",
                f"is {encode_json(version)[:50]}; this server knows {known}",
            )
        self._version = version

    def _read_fixes(self, section: str, suffix: str) -> None:
        for filename in self._stream.members():
            self._totals.add_file(f"{self._field}: {section}")
            fix = self._stream.value()
            field = f"{self._field}: {section}: {filename[:211]}"
            if not isinstance(fix, dict):
                raise Fault(field, "is no object")
            patch = _read_fix(field, fix, self._totals)
            if patch == _NOTHING or not filename.endswith(suffix) or not _may_exist(filename):
                continue
            self._texts[filename] = encode_json(patch)
            if patch.run_exports is not None:
                self._with_run_exports.append(filename)

    def _read_names(self, key: str, names: set[str]) -> None:
        for number, name in enumerate(self._stream.elements()):
            self._totals.add_file(f"{self._field}: {key}")
            if not isinstance(name, str):
                raise Fault(f"{self._field}: {key}[{number}]", "is no file name")
            if _may_exist(name):
                names.add(name)

    def _amend(self, filename: str, **changes: Any) -> None:
        patch = msgspec.structs.replace(decode_patch(self._texts.get(filename, "{}")), **changes)
        if patch == _NOTHING:
            del self._texts[filename]
        else:
            self._texts[filename] = encode_json(patch)


def _read_fix(field: str, fix: dict[str, Any], totals: _Totals) -> Patch:
    fields = {key: value for key, value in fix.items() if key not in _KEPT and key != _RUN_EXPORTS}
    given = {key: value for key, value in fields.items() if value is not None}
    check_fields(field, given, totals.check_specs)
    run_exports = None
    if _RUN_EXPORTS in fix:
        exports, place = fix[_RUN_EXPORTS] or {}, f"{field}: {_RUN_EXPORTS}"
        run_exports = read_run_exports(exports, place, totals.check_specs)
    return Patch(fields, run_exports)


def _may_exist(filename: str) -> bool:
    try:
        PackageFilename.parse(filename)
    except BadFilename:
        return False
    return True


# Applying


def decode_patch(text: str) -> Patch:
    return _DECODER.decode(text)


def find_patch(patches: Mapping[str, str], filename: str) -> Patch | None:
    """Return what ``patches`` say of a file, which may be nothing.

    What they say of ``x.tar.bz2`` is also meant for ``x.conda``, whose own fields go before.
    """
    own = patches.get(filename)
    shared = None
    if filename.endswith(_MODERN):
        shared = patches.get(filename.removesuffix(_MODERN) + _LEGACY)
    if own is None or shared is None:
        text = own or shared
        return None if text is None else decode_patch(text)
    return _merged(decode_patch(shared), decode_patch(own))


def _merged(shared: Patch, own: Patch) -> Patch:
    return Patch(
        fields=shared.fields | own.fields,
        run_exports=shared.run_exports if own.run_exports is None else own.run_exports,
        revoked=shared.revoked or own.revoked,
        removed=shared.removed or own.removed,
    )


def apply_patch(patch: Patch, record: str, run_exports: str) -> tuple[str, str]:
    """Return the record and the run_exports of a file, both JSON text, as the patch wants them.

    That a file is ``removed`` is for the caller to heed: it concerns the index, not the record.
    """
    if patch.run_exports is not None:
        run_exports = encode_json(patch.run_exports)
    if not patch.fields and not patch.revoked:
        return record, run_exports
    fields: dict[str, Any] = msgspec.json.decode(record)
    for key, value in patch.fields.items():
        if value is not None:
            fields[key] = value
        elif key in _LISTS:
            fields[key] = []  # clients take a list for granted
        else:
            fields.pop(key, None)
    if patch.revoked:
        fields["revoked"] = True
        if _REVOKED not in fields["depends"]:
            fields["depends"] = [*fields["depends"], _REVOKED]
    return encode_json(fields), run_exports
