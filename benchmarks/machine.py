"""The machine: its processors, what processes took of it, and its class in words."""

import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_ALL = sorted(os.sched_getaffinity(0))

# One core for the server and one for who asks it, where there are two.
SERVER_CPU = _ALL[0]
CLIENT_CPU = _ALL[-1]


@contextmanager
def pinned(cpu: int) -> Iterator[None]:
    """Run this thread, and the processes it starts, on one processor."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True)
class Usage:
    """``anonymous`` is bytes of memory that no file backs, ``files`` where descriptors lead."""

    anonymous: int
    files: list[str]


@dataclass(frozen=True)
class Session:
    """The processes of a server: all that share the session which its first one leads."""

    leader: int

    def cpu_seconds(self) -> float:
        """Return the user and system time that its processes have taken so far."""
        fields = [stat for _, stat in self._processes()]
        return sum(int(stat[11]) + int(stat[12]) for stat in fields) / _TICKS

    def reset_peaks(self) -> int:
        """Let the kernel's peaks begin anew; return the resident bytes now."""
        for pid, _ in self._processes():
            (pid / "clear_refs").write_text("5")
        return self._kilobytes("VmRSS") << 10

    def peak_bytes(self) -> int:
        """Return the sum of the peaks since the reset."""
        return self._kilobytes("VmHWM") << 10

    def anonymous_bytes(self) -> list[int]:
        """Return the memory of each process that no file backs, its share of what is shared."""
        return [_anonymous_bytes(pid) for pid, _ in self._processes()]

    def usage(self) -> dict[int, "Usage"]:
        """Return what each process holds, by its id."""
        found = {}
        for folder, _ in self._processes():
            try:
                found[int(folder.name)] = _usage(folder)
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has just ended
        return found

    def _kilobytes(self, field: str) -> int:
        pattern = re.compile(rf"^{field}:\s+(\d+) kB", re.MULTILINE)
        found = [pattern.search((pid / "status").read_text()) for pid, _ in self._processes()]
        return sum(int(match[1]) for match in found if match)

    def _processes(self) -> list[tuple[Path, list[str]]]:
        """Return the folder and the fields of stat(5), from the state on, of each process."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has just ended
            if int(fields[3]) == self.leader:
                found.append((folder, fields))
        return found


def _usage(folder: Path) -> Usage:
    files = []
    for link in (folder / "fd").iterdir():
        try:
            files.append(str(link.readlink()))
        except FileNotFoundError:
            continue  # it was just closed
    return Usage(_anonymous_bytes(folder), files)


def _anonymous_bytes(folder: Path) -> int:
    pattern = re.compile(r"^Pss_(?:Anon|Shmem):\s+(\d+) kB", re.MULTILINE)
    return sum(map(int, pattern.findall((folder / "smaps_rollup").read_text()))) << 10


def describe(folder: Path) -> str:
    """Say what kind of machine this is, and what file system ``folder`` is on."""
    cores = len(_ALL)
    gigabytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return (
        f"{_processor()}, {cores} core{'s' if cores > 1 else ''}, {gigabytes:.0f} GB, "
        f"{_file_system(folder)}, {platform.system()} {platform.release().split('-')[0]}, "
        f"Python {platform.python_version()}"
    )


def _processor() -> str:
    match = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return match[1].strip() if match else platform.machine()


def _file_system(folder: Path) -> str:
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    above = [mount for mount in mounts if folder.resolve().is_relative_to(mount[1])]
    return max(above, key=lambda mount: len(mount[1]))[2]
