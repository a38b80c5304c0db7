"""A reader of pickles of plain values and numpy arrays, such as CIFAR's; nothing that a pickle names is looked up.

A pickle is a program for a stack machine. The standard library's ``pickletools`` reads its instructions, and the
machine below knows only those that make numbers, text, bytes, lists, tuples and dicts. Of all names, a pickle may use
those by which numpy describes an array: they are compared with a table, and the array is made here, of the bytes that
are there.
"""

from __future__ import annotations

import math
import pickletools
import re
import struct
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dsetpack.files.limited import check_size
from dsetpack.formats.errors import FormatError, at
from dsetpack.formats.limits import Limits
from dsetpack.formats.model import printable

_BROKEN = (ValueError, LookupError, TypeError, OverflowError, struct.error)
_DAMAGED = "damaged or cut off; fetch it again"


def read_pickle(path: Path, names: Iterable[str], limits: Limits) -> dict[str, Any]:
    """Read some entries of a pickled dict of numbers, text, bytes, lists, tuples, dicts and numpy arrays of numbers.

    Keys become text, also where Python 2 wrote bytes; its other bytes become text in Latin-1, which loses none. All
    protocols are read, except that bytes of Python 2 must be ASCII in protocol 0.

    Returns:
        the entries of these names; arrays are read-only.

    Raises:
        FormatError: if the pickle is damaged or cut off, is not a dict with these entries, or holds anything else,
            such as the name of a function.
        LimitError: if the file is larger than ``limits.total`` bytes.
    """
    with at(str(path)):
        check_size(path, limits)
        held = _run(path.read_bytes())
        if not isinstance(held, dict):
            raise FormatError(f"a pickle of {type(held).__name__}; a dict expected")
        return {name: _entry(held, name) for name in names}


def _entry(held: Mapping[str, Any], name: str) -> Any:
    if name not in held:
        raise FormatError(f"no entry {name!r}; it holds {printable(', '.join(sorted(held))) or 'nothing'}")
    value = held[name]
    return value.values() if isinstance(value, _Array) else value


def _run(pickle: bytes) -> object:
    machine = _Machine()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd escapes in damaged text
            for instruction, argument, _ in pickletools.genops(pickle):
                machine.step(instruction.name, argument)
        return machine.pop()
    except FormatError:
        raise
    except _BROKEN as error:
        raise FormatError(f"not a sound pickle ({printable(str(error))[:160]}): {_DAMAGED}") from error


class _Name(NamedTuple):
    """A name in a pickle."""

    text: str


class _Type:
    """A numpy dtype: its letters, and the byte order in its state."""

    def __init__(self, letters: object, *_flags: object) -> None:
        self.letters, self.order = letters, "="

    def build(self, state: Any) -> None:
        self.order = state[1]

    def dtype(self) -> np.dtype[Any]:
        if not isinstance(self.letters, str) or not _LETTERS.fullmatch(self.letters):
            what = self.letters if isinstance(self.letters, str) else type(self.letters).__name__
            raise FormatError(f"an array of dtype {printable(what)}; plain numbers expected")
        if self.order not in _ORDERS:
            raise FormatError(f"a dtype without a byte order: {_DAMAGED}")
        return np.dtype(f"{self.order}{self.letters}")


class _Array:
    """A numpy array: its state has its version, shape, dtype, whether it is in Fortran's order, and its bytes."""

    def __init__(self, *_kind: object) -> None:
        self.state: Any = None

    def build(self, state: Any) -> None:
        self.state = state

    def values(self) -> NDArray[Any]:
        """The array.

        Raises:
            FormatError: if it does not hold plain numbers, or has more or fewer bytes than its shape says.
        """
        if not isinstance(self.state, tuple) or len(self.state) != 5:
            raise FormatError(f"an array without shape, dtype and bytes: {_DAMAGED}")
        _, shape, kind, fortran, content = self.state
        held = content.encode("latin-1") if isinstance(content, str) else content  # Python 2's bytes
        sizes = shape if isinstance(shape, tuple) and all(isinstance(n, int) and n >= 0 for n in shape) else None
        if sizes is None or not isinstance(kind, _Type):
            raise FormatError(f"an array without shape or dtype: {_DAMAGED}")
        dtype = kind.dtype()
        if not isinstance(held, bytes | bytearray) or math.prod(sizes) * dtype.itemsize != len(held):
            found = f"{len(held):,} bytes" if isinstance(held, bytes | bytearray) else type(held).__name__
            raise FormatError(f"an array {dtype} {list(sizes)} that holds {found}: {_DAMAGED}")
        return np.frombuffer(held, dtype).reshape(sizes, order="F" if fortran else "C")


def _of_buffer(content: object, kind: object, shape: object, order: object) -> _Array:
    """What protocol 5 makes an array of."""
    array = _Array()
    array.build((1, shape, kind, order == "F", content))
    return array


def _encoded(text: str, encoding: str) -> bytes:
    """What protocols 0 to 2 of Python 3 make bytes of."""
    if encoding != "latin1":
        raise ValueError("bytes in another encoding than latin1")
    return text.encode(encoding)


def _no_bytes() -> bytes:
    """What protocols 0 to 2 of Python 3 make empty bytes of."""
    return b""


_LETTERS, _ORDERS = re.compile(r"b1|[iu][1248]|f[248]"), ("<", ">", "|", "=")
_CORES = ("numpy.core", "numpy._core")
"""Where numpy keeps the functions below: before version 2, and since."""
_CALLS: Mapping[str, Callable[..., object]] = {
    **{f"{core}.multiarray._reconstruct": _Array for core in _CORES},
    **{f"{core}.numeric._frombuffer": _of_buffer for core in _CORES},
    "numpy.dtype": _Type,
    "_codecs.encode": _encoded,
    "__builtin__.bytes": _no_bytes,
}
"""The functions that a pickle may name, and what is called instead."""
_NAMES = frozenset((*_CALLS, "numpy.ndarray"))

_ARGUMENTS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
"""The instructions that push their argument."""
_CONSTANTS: Mapping[str, object] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_NOTHING = frozenset(("PROTO", "FRAME", "STOP"))


class _Machine:
    """The stack machine of pickles, with the instructions that plain values need."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def step(self, instruction: str, argument: Any) -> None:
        """Follow one instruction.

        Raises:
            FormatError: if plain values do not need it.
            ValueError, LookupError, TypeError: if the pickle is damaged.
        """
        if instruction in _ARGUMENTS:
            self.stack.append(argument)
            return
        match instruction:
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                self.stack.append(self.memo[argument])
            case "MARK":
                self.marks.append(len(self.stack))
            case "EMPTY_LIST" | "LIST":
                self.stack.append(self.marked() if instruction == "LIST" else [])
            case "EMPTY_DICT" | "DICT":
                self.stack.append(_pairs(self.marked()) if instruction == "DICT" else {})
            case "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = instruction.removeprefix("TUPLE")
                self.stack.append(tuple(self.taken(int(count)) if count else self.marked()))
            case "APPEND" | "APPENDS":
                values = self.taken(1) if instruction == "APPEND" else self.marked()
                self.top(list).extend(values)
            case "SETITEM" | "SETITEMS":
                values = self.taken(2) if instruction == "SETITEM" else self.marked()
                self.top(dict).update(_pairs(values))
            case "GLOBAL" | "STACK_GLOBAL":
                words = argument.split(" ", 1) if instruction == "GLOBAL" else self.taken(2)
                self.stack.append(_named(".".join(words)))
            case "REDUCE":
                function, arguments = self.taken(2)
                self.stack.append(_called(function, arguments))
            case "BUILD":
                (state,) = self.taken(1)
                self.top((_Array, _Type)).build(state)
            case _ if instruction in _CONSTANTS:
                self.stack.append(_CONSTANTS[instruction])
            case _ if instruction not in _NOTHING:
                raise FormatError(f"refused: a pickle with {instruction}, an instruction that plain values do not need")

    def pop(self) -> Any:
        return self.taken(1)[0]

    def taken(self, count: int) -> list[Any]:
        """Take values from the top of the stack."""
        start = len(self.stack) - count
        if start < (self.marks[-1] if self.marks else 0):
            raise ValueError("values are missing")
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def marked(self) -> list[Any]:
        """Take the values since the last mark."""
        values = self.taken(len(self.stack) - self.marks[-1])
        self.marks.pop()
        return values

    def top(self, kind: type | tuple[type, ...]) -> Any:
        """The value on top of the stack.

        Raises:
            ValueError: if it is of another kind.
        """
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise ValueError("an instruction for a value of another kind")
        return self.stack[-1]


def _named(name: str) -> _Name:
    if name not in _NAMES:
        raise FormatError(f"refused: a pickle that names code ({printable(name)}), which loading would run")
    return _Name(name)


def _called(function: object, arguments: object) -> object:
    if not isinstance(function, _Name) or function.text not in _CALLS or not isinstance(arguments, tuple):
        raise ValueError("a call of what is no function")
    return _CALLS[function.text](*arguments)


def _pairs(values: list[Any]) -> dict[str, Any]:
    """A dict of keys and values that alternate."""
    keys = values[::2]
    if len(values) % 2 or not all(isinstance(key, str | bytes) for key in keys):
        raise ValueError("a key that is no text")
    texts = (key.decode("latin-1") if isinstance(key, bytes) else key for key in keys)
    return dict(zip(texts, values[1::2], strict=True))
