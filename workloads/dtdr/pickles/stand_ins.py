"""What a pickle's numpy objects become: plain records of what the file says, checked.

numpy's own constructors are never called with what a file holds. An array here is its type, its
shape and a view of its bytes in the file; `array()` makes numpy's of it once all is known to fit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_KINDS: Final = frozenset(["b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"])
_ORDERS: Final = frozenset("<>|=")


class NotData(Exception):
    """A pickle that asks for what is no number, array, text, list, tuple or dict."""


@dataclass
class PickledType:
    """A numpy dtype: `code` (`u1`, `f4`, …) and byte order."""

    code: str
    order: str = "="

    @property
    def size(self) -> int:
        """Bytes of an element."""
        return int(self.code[1:])

    def fill(self, state: Any) -> None:
        """Takes what numpy stores beside the code: the byte order, and nothing of a structure."""
        if (
            not isinstance(state, tuple)
            or len(state) < 5
            or not isinstance(state[1], str)
            or state[1] not in _ORDERS
        ):
            raise NotData("a numpy dtype with a state that numpy does not write")
        if any(part is not None for part in state[2:5]):
            raise NotData("a numpy dtype with fields; valid are integers, floats and booleans")
        self.order = state[1]

    def dtype(self) -> np.dtype[Any]:
        """The numpy dtype."""
        import numpy as np

        return np.dtype(self.order + self.code)


@dataclass
class PickledArray:
    """A numpy array: its type, shape and bytes. Empty until the pickle has filled it."""

    type: PickledType | None = None
    shape: tuple[int, ...] = ()
    fortran: bool = False
    data: memoryview | None = None
    axes: tuple[int, ...] | None = None
    """With axes: the bytes are of `shape` in C order, the array is their transpose."""

    @property
    def final_shape(self) -> tuple[int, ...]:
        """The shape of the array, after the transpose."""
        return self.shape if self.axes is None else tuple(self.shape[axis] for axis in self.axes)

    def fill(self, state: Any) -> None:
        """Takes an array's state as numpy writes it: version, shape, dtype, order, bytes."""
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise NotData("a numpy array with a state that numpy does not write")
        shape, kind, fortran, data = state[-4:]
        self.set(shape, kind, bool(fortran), data)

    def set(self, shape: Any, kind: Any, fortran: bool, data: Any) -> None:
        """Fills the array, once type, shape and bytes agree; `NotData` where they do not."""
        if not isinstance(kind, PickledType):
            raise NotData("a numpy array without a dtype")
        if isinstance(shape, int) and not isinstance(shape, bool):
            shape = (shape,)
        if not _is_shape(shape):
            raise NotData("a numpy array whose shape is no tuple of sizes")
        if isinstance(data, str):  # Python 2 wrote bytes as text
            data = memoryview(latin1(data))
        if not isinstance(data, memoryview):
            raise NotData(f"a numpy array that holds a {type(data).__name__}, not bytes")
        if data.nbytes != prod(shape) * kind.size:
            raise NotData(
                f"a numpy array of shape {shape} and dtype {kind.code} with {data.nbytes} bytes, "
                f"not {prod(shape) * kind.size}"
            )
        self.type, self.shape, self.fortran, self.data = kind, tuple(shape), fortran, data
        self.axes = None

    def array(self) -> NDArray[Any]:
        """As numpy's, read-only, a view of the bytes; `NotData` if the pickle never filled it."""
        import numpy as np

        if self.type is None or self.data is None:
            raise NotData("a numpy array that is announced and never filled")
        flat = np.frombuffer(self.data, dtype=self.type.dtype())
        shaped = flat.reshape(self.shape, order="F" if self.fortran else "C")
        return shaped if self.axes is None else shaped.transpose(self.axes)


@dataclass(frozen=True)
class Named:
    """One of the few global names that may stand in a file, and what calling it means here."""

    name: str
    call: Callable[[tuple[Any, ...]], Any] | None = None


def known_name(module: str, name: str) -> Named:
    """The stand-in for `module.name`; `NotData` for everything that is not of numpy arrays."""
    found = _NAMES.get((module, name))
    if found is None:
        raise NotData(
            f"{module}.{name}, which is code; only numpy arrays, numbers, text, lists, tuples and "
            "dicts are read, and nothing was run"
        )
    return found


def latin1(text: str) -> bytes:
    """Bytes that a pickle holds as text."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise NotData("text in the place of bytes") from error


def _is_shape(shape: Any) -> bool:
    """Whether it is a tuple of at most 32 sizes of an array that numpy can make, empty or not."""
    return (
        isinstance(shape, tuple)
        and len(shape) <= 32
        and all(type(size) is int and size >= 0 for size in shape)
        and prod(size or 1 for size in shape) < 1 << 59
    )


def _dtype(given: tuple[Any, ...]) -> PickledType:
    if not given or not isinstance(given[0], str):
        raise NotData("a numpy dtype without a code")
    code = given[0]
    order = code[0] if code[:1] in _ORDERS else "="
    code = code.lstrip("<>|=")
    if code not in _KINDS:
        word = "object" if code.startswith("O") else code
        raise NotData(
            f"a numpy array of dtype {word}; valid: integers, floats and booleans of 1 to 8 bytes"
        )
    return PickledType(code, order)


def _reconstruct(given: tuple[Any, ...]) -> PickledArray:
    if not given or given[0] is not _NDARRAY:
        raise NotData("a numpy array of another class than ndarray")
    return PickledArray()


def _from_buffer(given: tuple[Any, ...]) -> PickledArray:
    """(bytes, dtype, shape, order[, axes]), as numpy writes with protocol 5."""
    if len(given) not in (4, 5):
        raise NotData("a numpy array with arguments that numpy does not write")
    data, kind, shape, order, *rest = given
    axes = rest[0] if rest else None
    made = PickledArray()
    made.set(shape, kind, order == "F", data)
    if order not in ("C", "F", "K", "A"):
        raise NotData("a numpy array in an order that numpy does not write")
    if order == "K" and axes is not None:
        if not _is_shape(axes) or sorted(axes) != list(range(len(made.shape))):
            raise NotData("a numpy array with axes that do not fit its shape")
        made.axes = tuple(axes)
    return made


def _scalar(given: tuple[Any, ...]) -> int | float | bool:
    if len(given) != 2:
        raise NotData("a numpy number with arguments that numpy does not write")
    single = PickledArray()
    single.set((), given[0], False, given[1])
    number: int | float | bool = single.array().item()
    return number


def _encode(given: tuple[Any, ...]) -> memoryview:
    """Protocols up to 2 write bytes as text with its encoding."""
    if len(given) != 2 or not isinstance(given[0], str) or given[1] not in ("latin1", "latin-1"):
        raise NotData("text with an encoding other than latin1")
    return memoryview(latin1(given[0]))


def _bytes(given: tuple[Any, ...]) -> memoryview:
    match given:
        case ():
            return memoryview(b"")
        case (memoryview() as data,):
            return data
        case (str() as text, "latin1" | "latin-1"):
            return memoryview(latin1(text))
    raise NotData("bytes made from what is no bytes")


_NDARRAY: Final = Named("numpy.ndarray")
_NAMES: Final = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): Named("numpy.dtype", _dtype),
    **{
        (module, name): Named(f"{module}.{name}", call)
        for package in ("numpy.core", "numpy._core")
        for module, name, call in (
            (f"{package}.multiarray", "_reconstruct", _reconstruct),
            (f"{package}.multiarray", "scalar", _scalar),
            (f"{package}.numeric", "_frombuffer", _from_buffer),
        )
    },
    ("_codecs", "encode"): Named("_codecs.encode", _encode),
    **{
        (module, name): Named(name, _bytes)
        for module in ("builtins", "__builtin__")
        for name in ("bytes", "bytearray")
    },
}
