"""A reader of pickles that hold data: an interpreter of the opcodes that make data, and no others.

Python's own unpickler calls what a file names. This one calls nothing: names are looked up in a
fixed table of stand-ins, and bytes stay views of the file, so a file need not fit into memory.
Opcodes as in the standard library's `pickletools`, protocols 0 to 5.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from mmap import mmap
from typing import Any, Final

from workloads.dtdr.pickles.stand_ins import Named, NotData, PickledArray, PickledType, known_name

_LONGEST_INTEGER: Final = 1 << 10


class CutOff(Exception):
    """A pickle that ends before its end mark."""


class DataMachine:
    """Reads one pickle. `position` and `within()` say where it stands, for errors."""

    def __init__(self, data: bytes | mmap) -> None:
        self.position = 0
        self._data = data
        self._view = memoryview(data)
        self._memo: dict[int, Any] = {}
        self._stack: list[Any] = []
        self._outer: list[list[Any]] = []
        self._ended = False
        self._made = 0

    def run(self) -> Any:
        """What the pickle holds: numbers, text, lists, tuples, dicts, `PickledArray`, memoryviews.

        Raises `CutOff`, `NotData`, or ValueError for bytes that are no pickle.
        """
        while not self._ended:
            if self.position >= len(self._view):
                raise CutOff
            code = self._view[self.position]
            step = _STEPS.get(code)
            if step is None:
                raise NotData(_unknown(code))
            self.position += 1
            step(self)
        if self._outer or len(self._stack) != 1:
            raise ValueError("its end mark comes too early")
        return self._stack[0]

    def within(self) -> str | None:
        """The key of the outermost dict whose value was being read; None before the first."""
        frames = [*self._outer, self._stack]
        items = frames[0][1:] or (frames[1] if len(frames) > 1 else [])
        name = items[(len(items) - 1) // 2 * 2] if items else None
        return name if isinstance(name, str) else None

    # reading

    def _take(self, count: int) -> memoryview:
        end = self.position + count
        if end > len(self._view):
            self.position = len(self._view)
            raise CutOff
        taken = self._view[self.position : end]
        self.position = end
        return taken

    def _number(self, layout: str) -> Any:
        return struct.unpack(layout, self._take(struct.calcsize(layout)))[0]

    def _line(self) -> str:
        end = self._data.find(b"\n", self.position)
        if end < 0:
            self.position = len(self._view)
            raise CutOff
        line = str(self._view[self.position : end], "latin-1")
        self.position = end + 1
        return line

    # the stack

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        if not self._stack:
            raise ValueError("it takes what it never put down")
        return self._stack.pop()

    def _top(self, kind: type) -> Any:
        if not self._stack or not isinstance(self._stack[-1], kind):
            raise ValueError(f"it adds to what is no {kind.__name__}")
        return self._stack[-1]

    def _mark(self) -> None:
        self._outer.append(self._stack)
        self._stack = []

    def _since_mark(self) -> list[Any]:
        if not self._outer:
            raise ValueError("it closes what it never opened")
        items, self._stack = self._stack, self._outer.pop()
        return items

    def _last(self, count: int) -> tuple[Any, ...]:
        if len(self._stack) < count:
            raise ValueError("it takes what it never put down")
        items = tuple(self._stack[-count:])
        del self._stack[-count:]
        return items

    def _remember(self, index: int) -> None:
        if not self._stack:
            raise ValueError("it remembers what it never put down")
        self._memo[index] = self._stack[-1]

    def _recall(self, index: int) -> None:
        if index not in self._memo:
            raise ValueError("it recalls what it never remembered")
        self._stack.append(self._memo[index])

    # what several opcodes share

    def _push_text(self, length: int) -> None:
        self._stack.append(str(self._take(length), "utf-8"))

    def _push_old_text(self, length: int) -> None:
        if length < 0:
            raise ValueError("it has a text of negative length")
        self._stack.append(str(self._take(length), "latin-1"))

    def _push_bytes(self, length: int) -> None:
        self._stack.append(self._take(length))

    def _push_long(self, length: int) -> None:
        if not 0 <= length <= _LONGEST_INTEGER:
            raise ValueError("it has a number of too many digits")
        self._stack.append(int.from_bytes(self._take(length), "little", signed=True))

    def _push_int(self, text: str) -> None:
        plain = {"00": False, "01": True}.get(text)
        self._stack.append(int(text.rstrip("L")) if plain is None else plain)

    def _push_quoted(self, text: str) -> None:
        if len(text) < 2 or text[0] != text[-1] or text[0] not in "'\"":
            raise ValueError("it has a text without quotes")
        raw = text[1:-1].encode("latin-1").decode("unicode_escape")
        self._stack.append(raw)

    def _extend(self, items: list[Any]) -> None:
        self._top(list).extend(items)

    def _put_items(self, items: list[Any]) -> None:
        into = self._top(dict)
        if len(items) % 2:
            raise ValueError("it has a dict with a key and no value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | int | float | bool | None):
                raise NotData(f"a dict with a {type(key).__name__} as a key")
            into[key] = value

    def _as_dict(self) -> None:
        items = self._since_mark()
        self._stack.append({})
        self._put_items(items)

    def _name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("it names something by what is no text")
        self._stack.append(known_name(module, name))

    def _call(self) -> None:
        named, given = self._last(2)
        if not isinstance(named, Named) or named.call is None or not isinstance(given, tuple):
            raise NotData("a call of what is no numpy array; nothing was run")
        made = named.call(given)
        self._charge(made)
        self._stack.append(made)

    def _build(self) -> None:
        state = self._pop()
        if not self._stack or not isinstance(self._stack[-1], PickledArray | PickledType):
            raise NotData("an object with a state of its own; nothing was run")
        self._stack[-1].fill(state)
        self._charge(self._stack[-1])

    def _charge(self, made: Any) -> None:
        """Counts bytes that are no view of the file. A text can be recalled and made bytes again
        and again, by which a small file would fill the memory; no writer needs it twice."""
        view = made.data if isinstance(made, PickledArray) else made
        if isinstance(view, memoryview) and view.obj is not self._data:
            self._made += view.nbytes
            if self._made > 2 * len(self._view):
                raise NotData("one text made bytes many times; nothing was run")

    def _stop(self) -> None:
        self._ended = True

    def _protocol(self) -> None:
        protocol = self._number("B")
        if protocol > 5:
            raise ValueError(f"it has protocol {protocol}; known are 0 to 5")


def _unknown(code: int) -> str:
    """Why an opcode has no place in a file of data."""
    import pickletools

    known: dict[int, str] = {ord(each.code): each.name for each in pickletools.opcodes}
    if code not in known:
        return f"byte {code:#04x}, which is no part of a pickle"
    if "BUFFER" in known[code]:
        return "arrays whose bytes lie outside the file; write it with buffer_callback=None"
    return f"the instruction {known[code]}, which makes no numpy array or plain data"


_M = DataMachine
_STEPS: Final[dict[int, Callable[[DataMachine], object]]] = {
    ord(code): step
    for code, step in {
        # structure
        "\x80": _M._protocol,
        "\x95": lambda m: m._number("<Q"),  # a frame: what it holds follows
        ".": _M._stop,
        "(": _M._mark,
        "0": lambda m: m._pop() if m._stack else m._since_mark(),
        "1": lambda m: m._since_mark(),
        "2": lambda m: m._stack.extend(m._last(1) * 2),
        "p": lambda m: m._remember(int(m._line())),
        "q": lambda m: m._remember(m._number("B")),
        "r": lambda m: m._remember(m._number("<I")),
        "\x94": lambda m: m._remember(len(m._memo)),
        "g": lambda m: m._recall(int(m._line())),
        "h": lambda m: m._recall(m._number("B")),
        "j": lambda m: m._recall(m._number("<I")),
        # numbers
        "N": lambda m: m._push(None),
        "\x88": lambda m: m._push(True),
        "\x89": lambda m: m._push(False),
        "I": lambda m: m._push_int(m._line()),
        "L": lambda m: m._push_int(m._line()),
        "J": lambda m: m._push(m._number("<i")),
        "K": lambda m: m._push(m._number("B")),
        "M": lambda m: m._push(m._number("<H")),
        "\x8a": lambda m: m._push_long(m._number("B")),
        "\x8b": lambda m: m._push_long(m._number("<i")),
        "F": lambda m: m._push(float(m._line())),
        "G": lambda m: m._push(m._number(">d")),
        # text and bytes
        "S": lambda m: m._push_quoted(m._line()),
        "T": lambda m: m._push_old_text(m._number("<i")),
        "U": lambda m: m._push_old_text(m._number("B")),
        "V": lambda m: m._push(m._line().encode("latin-1").decode("raw_unicode_escape")),
        "X": lambda m: m._push_text(m._number("<I")),
        "\x8c": lambda m: m._push_text(m._number("B")),
        "\x8d": lambda m: m._push_text(m._number("<Q")),
        "B": lambda m: m._push_bytes(m._number("<I")),
        "C": lambda m: m._push_bytes(m._number("B")),
        "\x8e": lambda m: m._push_bytes(m._number("<Q")),
        "\x96": lambda m: m._push_bytes(m._number("<Q")),
        # lists, tuples, dicts
        "]": lambda m: m._push([]),
        "l": lambda m: m._push(m._since_mark()),
        "a": lambda m: m._extend([m._pop()]),
        "e": lambda m: m._extend(m._since_mark()),
        ")": lambda m: m._push(()),
        "t": lambda m: m._push(tuple(m._since_mark())),
        "\x85": lambda m: m._push(m._last(1)),
        "\x86": lambda m: m._push(m._last(2)),
        "\x87": lambda m: m._push(m._last(3)),
        "}": lambda m: m._push({}),
        "d": _M._as_dict,
        "s": lambda m: m._put_items(list(m._last(2))),
        "u": lambda m: m._put_items(m._since_mark()),
        # numpy's objects
        "c": lambda m: m._name(m._line(), m._line()),
        "\x93": lambda m: m._name(*m._last(2)),
        "R": _M._call,
        "b": _M._build,
    }.items()
}
