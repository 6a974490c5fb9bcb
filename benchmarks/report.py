"""The report: figures as a table, on the terminal and in README.md."""

import re
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.figures import HEADINGS, Figure, NotRun
from benchmarks.machine import describe

README = Path(__file__).with_name("README.md")


def text_line(figure: Figure | NotRun) -> str:
    """Return the figure in one line."""
    return " | ".join(cell for cell in figure.row() if cell)


def report_campaign(
    group: str, command: str, folder: Path, measured: Iterable[Figure | NotRun], *, whole: bool
) -> int:
    """Print each figure once it is measured, and those of a ``whole`` campaign into README.md.

    Return the exit code: 1 if one was missed, or not run for want of more than a peer.
    """
    began = time.monotonic()
    heading = f"{datetime.now(UTC):%Y-%m-%d}, {describe(folder)}: `{command}`"
    figures = []
    for figure in measured:
        print(text_line(figure), flush=True)
        figures.append(figure)
    print(f"{time.monotonic() - began:.0f} s")
    if whole:
        write_section(group, heading, figures)
    return int(any(map(_is_missed, figures)))


def _is_missed(figure: Figure | NotRun) -> bool:
    if isinstance(figure, NotRun):
        return not figure.optional
    return "missed" in figure.verdict


def write_section(group: str, heading: str, figures: Sequence[Figure | NotRun]) -> None:
    """Put a table in the place of the group's last one; ``heading`` says when and where."""
    table = [HEADINGS, ["---"] * len(HEADINGS), *(figure.row() for figure in figures)]
    lines = [f"| {' | '.join(row)} |" for row in table]
    section = "\n".join([_begin(group), "", heading, "", *lines, "", _END])
    pattern = re.compile(f"{re.escape(_begin(group))}.*?{re.escape(_END)}", re.DOTALL)
    text, count = pattern.subn(lambda _: section, README.read_text(encoding="utf-8"))
    if count != 1:
        raise RuntimeError(f"{README} has {count} places for the figures of '{group}', not one")
    README.write_text(text, encoding="utf-8")


def _begin(group: str) -> str:
    return f"<!-- figures: {group} -->"


_END = "<!-- end -->"
