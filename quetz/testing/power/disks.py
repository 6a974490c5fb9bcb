"""A disk, which of its effects are durable, and what may be left of the others."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

SECTOR = 512
ROOT = 0
"""The number of the folder that everything is in."""


@dataclass(frozen=True)
class NewFile:
    inode: int


@dataclass(frozen=True)
class NewFolder:
    inode: int


@dataclass(frozen=True)
class Name:
    """A name in a folder, from now on that of ``inode``; None removes it."""

    folder: int
    name: str
    inode: int | None


@dataclass(frozen=True)
class Write:
    inode: int
    start: int
    data: bytes


@dataclass(frozen=True)
class Truncate:
    inode: int
    size: int


@dataclass(frozen=True)
class Sync:
    """A file or folder is durable; None stands for everything."""

    inode: int | None


@dataclass(frozen=True)
class Mark:
    """What the scenario says of itself."""

    what: object


Effect = NewFile | NewFolder | Name | Write | Truncate | Sync | Mark


class Loss(StrEnum):
    """What is left of effects that were not synced."""

    DROPPED = "dropped"
    """Nothing."""

    EMPTIED = "emptied"
    """All names, and no bytes: a file is cut off where the synced ones end, or full of zeros."""

    MIXED = "mixed"
    """Some of the names; of some writes all, a part or nothing."""


@dataclass
class _File:
    durable: bytes = b""
    now: bytearray = field(default_factory=bytearray)
    pending: list[Write | Truncate] = field(default_factory=list)

    def sync(self) -> None:
        self.durable, self.pending = bytes(self.now), []

    def left(self, loss: Loss, chance: random.Random) -> bytes:
        if not self.pending or loss is Loss.DROPPED:
            return self.durable
        if loss is Loss.EMPTIED:
            zeros = max(len(self.now) - len(self.durable), 0)
            return self.durable + bytes(zeros if chance.random() < 0.5 else 0)
        content = bytearray(self.durable)
        for effect in self.pending:
            torn = _torn(effect, chance)
            if torn is not None:
                _apply(content, torn)
        return bytes(content)


@dataclass
class _Folder:
    durable: dict[str, int] = field(default_factory=dict)
    now: dict[str, int] = field(default_factory=dict)
    pending: list[Name] = field(default_factory=list)

    def sync(self) -> None:
        self.durable, self.pending = dict(self.now), []

    def left(self, loss: Loss, chance: random.Random) -> dict[str, int]:
        if loss is Loss.DROPPED:
            return self.durable
        if loss is Loss.EMPTIED:
            return self.now
        names = dict(self.durable)
        for effect in self.pending:
            if chance.random() < 0.5:
                _name(names, effect)
        return names


class Disk:
    """The state of a folder's files; it starts empty, and takes effects one by one."""

    def __init__(self) -> None:
        self._files: dict[int, _File] = {}
        self._folders: dict[int, _Folder] = {ROOT: _Folder()}

    def take(self, effect: Effect) -> None:
        match effect:
            case NewFile(inode):
                self._files[inode] = _File()
            case NewFolder(inode):
                self._folders[inode] = _Folder()
            case Name(folder):
                _name(self._folders[folder].now, effect)
                self._folders[folder].pending.append(effect)
            case Write(inode) | Truncate(inode):
                _apply(self._files[inode].now, effect)
                self._files[inode].pending.append(effect)
            case Sync(inode):
                self._sync(inode)
            case Mark():
                pass

    def _sync(self, inode: int | None) -> None:
        things: list[_File | _Folder] = []
        for kind in (self._files, self._folders):
            if inode is None:
                things += kind.values()
            elif inode in kind:
                things.append(kind[inode])
        for thing in things:
            thing.sync()

    def after(self, loss: Loss, seed: int) -> dict[str, bytes | None]:
        """Return what is on the disk after a power cut: bytes by path, None for a folder."""
        chance = random.Random(f"{loss}-{seed}")
        return dict(self._walk(ROOT, "", loss, chance))

    def now(self) -> dict[str, bytes | None]:
        """Return what programs see while there is power."""
        return dict(self._current(ROOT, ""))

    def _walk(
        self, inode: int, path: str, loss: Loss, chance: random.Random
    ) -> Iterator[tuple[str, bytes | None]]:
        for name, inner in sorted(self._folders[inode].left(loss, chance).items()):
            if inner in self._folders:
                yield path + name, None
                yield from self._walk(inner, f"{path}{name}/", loss, chance)
            else:
                yield path + name, self._files[inner].left(loss, chance)

    def _current(self, inode: int, path: str) -> Iterator[tuple[str, bytes | None]]:
        for name, inner in self._folders[inode].now.items():
            if inner in self._folders:
                yield path + name, None
                yield from self._current(inner, f"{path}{name}/")
            else:
                yield path + name, bytes(self._files[inner].now)


def _torn(effect: Write | Truncate, chance: random.Random) -> Write | Truncate | None:
    fate = chance.choice(("whole", "whole", "torn", "zeros", "dropped"))
    if fate == "whole" or (fate != "dropped" and isinstance(effect, Truncate)):
        return effect
    if fate == "dropped" or isinstance(effect, Truncate):
        return None
    if fate == "zeros":
        return Write(effect.inode, effect.start, bytes(len(effect.data)))
    sectors = chance.randrange(len(effect.data) // SECTOR + 1)
    return Write(effect.inode, effect.start, effect.data[: sectors * SECTOR])


def _apply(content: bytearray, effect: Write | Truncate) -> None:
    if isinstance(effect, Truncate):
        del content[effect.size :]
        content.extend(bytes(effect.size - len(content)))
        return
    content.extend(bytes(max(effect.start - len(content), 0)))  # a hole
    content[effect.start : effect.start + len(effect.data)] = effect.data


def _name(names: dict[str, int], effect: Name) -> None:
    if effect.inode is None:
        names.pop(effect.name, None)
    else:
        names[effect.name] = effect.inode
