"""``info/index.json``: what a package says of itself (CEP 34)."""

import re
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, Final, Literal

import msgspec
from rattler import MatchSpec
from rattler.exceptions import InvalidMatchSpecError

from quetz.conda.faults import Fault
from quetz.conda.filenames import PackageFilename
from quetz.conda.names import is_subdir
from quetz.conda.timestamps import to_seconds

_FIELD: Final = "info/index.json"
_DAY: Final = 24 * 3600
# The records of this and later schemas go where this server does not write yet (CEP 48).
_FIRST_V3_SCHEMA: Final = 3

_LONGEST_SPEC: Final = 2048
# Spaces come one at a time here: to look for runs of them takes quadratic time.
_OPERATOR: Final = re.compile(r" ?([,|<>=!~]) ?")
# A build may be a regular expression, ^...$. What a parser makes of some takes a tenth of a second.
_LONGEST_REGEX: Final = 100
_COSTLY: Final = re.compile(r"\{|\\[a-ce-zA-Z]")  # counts, and classes other than of digits
_V3_KEY: Final = re.compile(r"\b(when|extras|flags)\s*=")
_MOST_FIELDS: Final = 3  # name, version, build

CheckSpecs = Callable[[str, list[str]], None]

_Natural = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class _Fields(msgspec.Struct, kw_only=True):
    """The fields that clients read. Those of builders long past may be null, as they wrote it."""

    depends: list[str] = []
    constrains: list[str] = []
    noarch: Literal["generic", "python"] | None = None
    timestamp: _Natural | None = None
    track_features: str | list[str] | None = None
    features: str | None = None
    license: str | None = None
    license_family: str | None = None
    python_site_packages_path: str | None = None
    arch: str | None = None
    platform: str | None = None


class _Index(_Fields, kw_only=True):
    name: str
    version: str
    build: str
    build_number: _Natural
    subdir: str | None = None
    schema_version: _Natural = 1


def check_index(index: Any, filename: PackageFilename) -> dict[str, Any]:
    """Return the index of an archive as its record starts, with ``depends`` and ``subdir``.

    Raises:
        Fault: it contradicts the file name, or clients could not read it.
    """
    try:
        known = msgspec.convert(index, _Index)
    except msgspec.ValidationError as error:
        raise Fault(_FIELD, str(error)) from None
    for key in ("name", "version", "build"):
        said, named = getattr(known, key), getattr(filename, key)
        if said != named:
            raise Fault(f"{_FIELD}: {key}", f"is {said[:100]!r}, the file name says {named!r}")
    if known.schema_version >= _FIRST_V3_SCHEMA:
        raise Fault(
            f"{_FIELD}: schema_version",
            f"is {known.schema_version}; repodata v3 records are not supported yet",
        )
    _check(_FIELD, known, check_specs)
    return {**index, "depends": known.depends, "subdir": _subdir(known)}


def check_fields(field: str, fields: dict[str, Any], check_specs: CheckSpecs) -> None:
    """Check fields that are to replace some of a record, other than those that identify a file.

    Raises:
        Fault: clients could not read one; its place is named after ``field``.
    """
    try:
        known = msgspec.convert(fields, _Fields)
    except msgspec.ValidationError as error:
        raise Fault(field, str(error)) from None
    _check(field, known, check_specs)


def _check(field: str, known: _Fields, check_specs: CheckSpecs) -> None:
    _check_timestamp(f"{field}: timestamp", known.timestamp)
    check_specs(f"{field}: depends", known.depends)
    check_specs(f"{field}: constrains", known.constrains)


def _subdir(index: _Index) -> str:
    if index.subdir is None and index.noarch is not None:
        return "noarch"
    if index.subdir is None:
        raise Fault(f"{_FIELD}: subdir", "is missing")
    if not is_subdir(index.subdir):
        raise Fault(f"{_FIELD}: subdir", f"{index.subdir[:100]!r} is not 'noarch' or <os>-<arch>")
    return index.subdir


def _check_timestamp(field: str, timestamp: int | None) -> None:
    """Refuse a build in the future: it would stay the newest for ever (CEP 47)."""
    if timestamp is not None and to_seconds(timestamp) > time.time() + _DAY:
        raise Fault(field, f"{timestamp} is in the future")


def check_specs(field: str, specs: list[str]) -> None:
    """Check that each is a MatchSpec as it may stand in a package (CEP 29).

    Raises:
        Fault: one is not, naming its place in the list.
    """
    for place, spec in enumerate(specs):
        check_spec(f"{field}[{place}]", spec)


def check_spec(field: str, spec: str) -> None:
    """Check one as ``check_specs`` does.

    Raises:
        Fault: it is none.
    """
    if fault := _spec_fault(spec):
        raise Fault(field, f"{spec[:200]!r} {fault}")


@lru_cache(maxsize=4_096)  # packages depend on the same few things
def _spec_fault(spec: str) -> str | None:
    """Say what is wrong. The parser lets some text pass that conda's stumbles over."""
    if len(spec) > _LONGEST_SPEC or not spec.isprintable():
        return f"is longer than {_LONGEST_SPEC} characters, or not printable"
    if "^" in spec and (len(spec) > _LONGEST_REGEX or _COSTLY.search(spec)):
        return (
            f"holds a regular expression of more than {_LONGEST_REGEX} characters, or with a count "
            "or a class as \\w"
        )
    plain, brackets = _split_brackets(" ".join(spec.split()))
    if _V3_KEY.search(brackets):
        return "is for repodata v3 records, which are not supported yet"
    bare = _OPERATOR.sub(r"\1", plain).split()
    if len(bare) > _MOST_FIELDS or (bare and bare[-1][-1] in ",|<>=!~"):
        return "is no match specification: too many fields, or one ends early"
    try:
        MatchSpec(spec)
    except InvalidMatchSpecError as error:
        return f"is no match specification: {error}"
    return None


def _split_brackets(spec: str) -> tuple[str, str]:
    """Split ``name [key=value]`` into what stands before the brackets, and in them."""
    start = spec.find("[")
    if start < 0 or not spec.endswith("]"):
        return spec, ""
    return spec[:start], spec[start + 1 : -1]
