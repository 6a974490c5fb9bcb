import pytest
from hypothesis import given
from hypothesis import strategies as st

from quetz.conda.filenames import PackageFilename
from quetz.errors import BadFilename

NAMES = st.from_regex(r"_?[a-z0-9]+([._-][a-z0-9]+){0,3}", fullmatch=True).filter(
    lambda name: len(name) <= 64
)
VERSIONS = st.from_regex(
    r"([0-9]{1,3}!)?[0-9]{1,4}([._][a-z0-9]{1,6}){0,3}(\+[a-z0-9]{1,5})?", fullmatch=True
)
BUILDS = st.from_regex(r"[a-zA-Z0-9_.+]{1,64}", fullmatch=True)


@given(NAMES, VERSIONS, BUILDS, st.sampled_from([".conda", ".tar.bz2"]))
def test_the_parts_come_back_from_the_name_they_make(name, version, build, suffix):
    parts = PackageFilename(name, version, build, suffix)

    assert PackageFilename.parse(str(parts)) == parts


@given(st.text())
def test_any_text_is_a_file_name_that_comes_back_or_refused(text):
    try:
        parts = PackageFilename.parse(text)
    except BadFilename:
        return
    assert str(parts) == text


@pytest.mark.parametrize(
    ("filename", "parts"),
    [
        ("a-b-c-1!2.0+x-h_0.conda", ("a-b-c", "1!2.0+x", "h_0", ".conda")),
        ("_libgcc_mutex-0.1-main.tar.bz2", ("_libgcc_mutex", "0.1", "main", ".tar.bz2")),
    ],
)
def test_the_last_two_dashes_split(filename, parts):
    assert PackageFilename.parse(filename) == PackageFilename(*parts)


def test_the_stem_has_no_suffix():
    assert PackageFilename.parse("pkg-1.0-0.tar.bz2").stem == "pkg-1.0-0"


@pytest.mark.parametrize(
    ("filename", "reason"),
    [
        ("pkg-1..0-0.conda", "version"),
        ("pkg-1.0-0-.conda", "version"),
        ("Pkg-1.0-0.conda", "package name"),
        ("pkg-1.0-é.conda", "build"),
        ("pkg-1.0.conda", "expected"),
    ],
)
def test_a_refusal_names_the_part(filename, reason):
    with pytest.raises(BadFilename, match=reason):
        PackageFilename.parse(filename)
