"""JSON that is too large to hold, read value by value, as strictly as ``strict_json``."""

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from quetz.conda.strict_json import BadJson, decode_at

# What one value may have: its objects take many times the room of its text, and decoding it
# lets no other thread run.
_LONGEST: Final = 1 << 16
# A number ends only where the characters behind it show that: "1" may become "1e-5".
_AHEAD: Final = 8
_MOST_KEYS: Final = 32
_DEEPEST: Final = 64
_NO_SPACE: Final = re.compile(r"[^ \t\n\r]")


class JsonStream:
    """Reads one document from the front; ``pieces`` are its bytes.

    The caller takes the value of each key before the next key::

        for key in stream.keys():
            if key == "paths":
                for element in stream.elements(): ...
            else:
                stream.value()
    """

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = codecs.iterdecode(pieces, "utf-8")
        self._text = ""
        self._at = 0
        self._passed = 0  # characters before ``_text``
        self._ended = False

    def keys(self) -> Iterator[str]:
        """Yield the keys of the object that is the document.

        Raises:
            BadJson: as by ``decode_strictly``; more than 32 keys; bytes behind the object.
        """
        for number, key in enumerate(self.members()):
            if number >= _MOST_KEYS:
                raise BadJson(f"the object has more than {_MOST_KEYS} keys")
            yield key
        if found := self._peek():
            raise BadJson(f"not JSON: {found!r} follows its end, at character {self._position}")

    def members(self) -> Iterator[str]:
        """Yield the keys of the object that comes next, of any number.

        The caller takes the value of each key before the next key.

        Raises:
            BadJson: no object; as ``value``; a key twice.
        """
        seen: set[str] = set()
        for _ in self._items("{", "}"):
            self._expect('"')
            key = self.value()
            if key in seen:
                raise BadJson(f"the key {key[:100]!r} stands twice in one object")
            seen.add(key)
            self._take(":")
            yield key

    def elements(self) -> Iterator[Any]:
        """Yield the elements of the array that comes next.

        Raises:
            BadJson: no array; as ``value``.
        """
        for _ in self._items("[", "]"):
            yield self.value()

    def value(self) -> Any:
        """Return the value that comes next.

        Raises:
            BadJson: as by ``decode_strictly``; longer than 65,536 characters.
        """
        self._peek()
        while len(self._text) - self._at < _LONGEST + _AHEAD and self._read_more():
            pass
        try:
            value, end = decode_at(self._text, self._at)
        except json.JSONDecodeError as error:
            wrong = f"not JSON: {error.msg}, at character {self._passed + error.pos}"
            if not self._ended:
                wrong = f"a value is longer than {_LONGEST} characters, or {wrong}"
            raise BadJson(wrong) from None
        if end - self._at > _LONGEST:
            raise BadJson(
                f"the value at character {self._position} is longer than {_LONGEST} characters"
            )
        self._at = end
        return value

    def skip(self, most: int) -> int:
        """Pass the value that comes next, of any size; nothing of it is held.

        It may consist of ``most`` values, itself among them; return how many fewer it does.

        Raises:
            BadJson: as ``value``, for each value inside that is no object and no array; a key may
                stand twice. More than ``most`` values.
        """
        return self._skip(_DEEPEST, most)

    def _skip(self, levels: int, left: int) -> int:
        found = self._peek()
        if levels == 0:
            raise BadJson(f"deeper than {_DEEPEST} levels")
        if left == 0:
            raise BadJson(f"too many values under unknown keys, at character {self._position}")
        left -= 1
        if found == "{":
            for _ in self._items("{", "}"):
                self._expect('"')
                self.value()
                self._take(":")
                left = self._skip(levels - 1, left)
        elif found == "[":
            for _ in self._items("[", "]"):
                left = self._skip(levels - 1, left)
        else:
            self.value()
        return left

    @property
    def _position(self) -> int:
        return self._passed + self._at

    def _items(self, opening: str, closing: str) -> Iterator[None]:
        """Yield before each item that the brackets hold."""
        self._take(opening)
        if self._peek() == closing:
            self._take(closing)
            return
        while True:
            yield
            if self._take(f",{closing}") == closing:
                return

    def _take(self, choices: str) -> str:
        found = self._expect(choices)
        self._at += 1
        return found

    def _expect(self, choices: str) -> str:
        found = self._peek()
        if not found or found not in choices:
            wanted = " or ".join(repr(choice) for choice in choices)
            where = f"at character {self._position}"
            raise BadJson(f"expected {wanted} {where}, found {repr(found) if found else 'the end'}")
        return found

    def _peek(self) -> str:
        """Go to the next character that is no space and return it, "" at the end."""
        while True:
            match = _NO_SPACE.search(self._text, self._at)
            if match is not None:
                self._at = match.start()
                return match[0]
            self._at = len(self._text)
            if not self._read_more():
                return ""

    def _read_more(self) -> bool:
        """Add the next piece, if there is one, and let go of what was passed."""
        try:
            piece = next(self._pieces, None)
        except UnicodeDecodeError:
            known = self._passed + len(self._text)
            raise BadJson(f"not UTF-8, after the first {known} characters") from None
        if piece is None:
            self._ended = True
            return False
        self._passed += self._at
        self._text = self._text[self._at :] + piece
        self._at = 0
        return True
