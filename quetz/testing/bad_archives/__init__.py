"""Package files that a server must refuse: ``BAD_ARCHIVES``, a table of kinds by name.

Each kind is ``(category, build, fault)``: ``build(folder)`` writes the file below ``folder``
and returns its path and the file name it is to be uploaded as; ``fault`` is a word that the
refusal has to hold, be it ``BadArchive`` or ``BadFilename``, so that it names what is wrong::

    for name, kind in BAD_ARCHIVES.items():
        path, filename = kind.build(tmp_path)
        with pytest.raises((BadArchive, BadFilename), match=re.escape(kind.fault)):
            read_archive(path, filename)

Through HTTP, skip the category ``FILE_NAMES`` where a route could not carry such a name.
"""

from collections.abc import Callable, Iterator

from quetz.testing.bad_archives import containers, documents, series
from quetz.testing.bad_archives.parts import BadKind

__all__ = ["BAD_ARCHIVES", "FILE_NAMES", "BadKind"]

FILE_NAMES = documents.FILE_NAMES

_GROUPS: tuple[Callable[[], Iterator[tuple[str, BadKind]]], ...] = (
    containers.empty_or_cut,
    containers.wrong_magic,
    containers.zip_structure,
    containers.tar_structure,
    containers.streams,
    containers.missing_members,
    documents.json_text,
    documents.large_documents,
    documents.streamed_text,
    documents.wrong_types,
    documents.values,
    documents.other_names,
    documents.file_names,
    documents.bombs,
    documents.stems,
    documents.shapes,
    series.cuts,
    series.foreign_formats,
    series.more_zips,
    series.more_streams,
    series.more_missing,
    series.other_fields,
    series.other_file_names,
    series.more_bombs,
    series.more_stems,
)

BAD_ARCHIVES: dict[str, BadKind] = {name: kind for group in _GROUPS for name, kind in group()}
