import bz2
import re

import pytest

from quetz.conda.archives import read_archive
from quetz.errors import BadArchive, BadFilename
from quetz.testing.bad_archives import BAD_ARCHIVES, parts


@pytest.mark.parametrize("name", BAD_ARCHIVES)
def test_a_bad_archive_is_refused_with_its_fault_named(name, tmp_path):
    kind = BAD_ARCHIVES[name]
    path, filename = kind.build(tmp_path)

    with pytest.raises((BadArchive, BadFilename), match=re.escape(kind.fault)):
        read_archive(path, filename)


def test_they_are_bad_by_what_was_changed(tmp_path):
    path = tmp_path / "uploaded"
    for content, filename in (
        (parts.conda(), parts.CONDA),
        (bz2.compress(parts.info_tar()), parts.BZ2),
    ):
        path.write_bytes(content)

        assert str(read_archive(path, filename).filename) == filename
