"""Pickles read as data: an interpreter of the format that imports nothing and calls nothing a file names.

Python's own unpickler fetches and calls whatever a file asks for. Here a global is only a `Name`, and refused at once
unless it is on the reader's list; a call is looked up in the reader's table of calls. What the interpreter makes is
numbers, texts, bytes, lists, tuples, dictionaries, sets and what those calls return. Time and memory stay in
proportion to the file: keys are texts or small numbers (no nested tuple is ever hashed), and calls may not take
more than some times what the file holds.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from atlas.errors import InputError

MOST_STEPS = 5_000_000  # the largest official file needs about 100,000
MOST_TAKEN = 4  # times the file's length: bytes are a text first in old protocols, then a storage's content
SMALL = 2**31

# What instructions in the wrong place raise.
_DAMAGE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError, MemoryError)
# Opcodes whose argument is the value.
_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class Stream(Protocol):
    """Bytes to read: a file in memory. ``read(n)`` gives no more than there is."""

    def read(self, n: int = -1, /) -> bytes:
        """Return the next bytes."""

    def readline(self) -> bytes:
        """Return the bytes up to and including the next line feed."""


@dataclass(frozen=True)
class Name:
    """A global as a file names it; nothing was imported."""

    module: str
    attribute: str

    def __str__(self) -> str:
        return f"{self.module}.{self.attribute}"


@dataclass
class Inert:
    """An object of which only what it was made of is kept.

    Attributes:
        parts: the arguments of its making.
        state: what a file says of it afterwards.
    """

    parts: tuple[Any, ...]
    state: Any = None


@dataclass
class PickleReader:
    """Reads pickles by one list of what they may name.

    Attributes:
        file: name of the file, for errors.
        size: its length in bytes; all calls together may take some times as much.
        calls: what takes the place of the callables a file names, by dotted name; arguments come as in the file.
        names: further globals that may be named, but not called.
        persistent: takes a persistent id; None where there must be none.
    """

    file: str
    size: int
    calls: Mapping[str, Callable[..., Any]]
    names: Collection[str] = ()
    persistent: Callable[[Any], Any] | None = None
    _taken: int = field(default=0, init=False)

    def read(self, stream: Stream) -> Any:
        """Read one pickle from the stream and leave the stream behind it.

        Raises:
            InputError: the pickle asks for more than data (nothing of it was run), or is damaged.
        """
        try:
            return _Machine(self).run(stream)
        except InputError:
            raise
        except _DAMAGE as error:
            raise self.damaged() from error

    def allowed(self, module: str, attribute: str) -> Name:
        """Return the global as a `Name` if it is on the list.

        Raises:
            InputError: it is not.
        """
        name = Name(module, attribute)
        if str(name) not in self.calls and str(name) not in self.names:
            raise self.refusal(f"it names {str(name)[:200]!r}")
        return name

    def call(self, function: Any, arguments: Any) -> Any:
        """Make what ``function(*arguments)`` stands for."""
        if not isinstance(function, Name) or str(function) not in self.calls:
            raise self.refusal("it calls what is no known maker of data")
        self._taken += sum(len(a) for a in arguments if isinstance(a, str | bytes | bytearray | list | tuple | dict))
        if self._taken > MOST_TAKEN * self.size:
            raise self.refusal("it takes the same bytes again and again")
        return self.calls[str(function)](*arguments)

    def refusal(self, why: str) -> InputError:
        """Return the error for a pickle that asks for more than data."""
        return InputError(
            f"{self.file} is not read, because {why}, which no checkpoint needs; nothing in it was run: get the file "
            "from a source that you trust"
        )

    def damaged(self) -> InputError:
        """Return the error for a file that is cut or damaged."""
        return InputError(f"{self.file} is damaged or no checkpoint of this kind: copy it again")


class _Machine:
    """The stack machine that a pickle is a program for; one run each."""

    def __init__(self, reader: PickleReader) -> None:
        self.reader = reader
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # stacks under a mark
        self.memo: dict[int, Any] = {}

    def run(self, stream: Stream) -> Any:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):  # type: ignore[arg-type]
            if count >= MOST_STEPS:
                raise self.reader.refusal(f"it takes more than {MOST_STEPS} steps")
            if opcode.name == "STOP":
                return self.stack.pop()
            self.step(opcode.name, argument)
        raise self.reader.damaged()

    def step(self, opcode: str, argument: Any) -> None:
        stack = self.stack
        if opcode in _VALUES:
            stack.append(argument)
        elif opcode in _CONSTANTS:
            stack.append(_CONSTANTS[opcode])
        elif opcode in _EMPTY:
            stack.append(_EMPTY[opcode]())
        elif opcode in _TUPLES:
            stack[-_TUPLES[opcode] :] = [tuple(self.top(_TUPLES[opcode]))]
        else:
            self.rarer_step(opcode, argument)

    def rarer_step(self, opcode: str, argument: Any) -> None:
        stack = self.stack
        match opcode:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                self.below.append(stack)
                self.stack = []
            case "TUPLE" | "LIST" | "DICT" | "FROZENSET":
                items = self.unmark()
                self.stack.append(self.container(opcode, items))
            case "APPEND" | "APPENDS":
                items = [stack.pop()] if opcode == "APPEND" else self.unmark()
                self.target(list).extend(items)
            case "SETITEM" | "SETITEMS":
                items = [stack.pop(-2), stack.pop()] if opcode == "SETITEM" else self.unmark()
                self.target(dict).update(self.pairs(items))
            case "ADDITEMS":
                items = self.unmark()
                self.target(set).update(self.keys(items))
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "POP":
                if stack:
                    stack.pop()
                else:
                    self.unmark()
            case "POP_MARK":
                self.unmark()
            case "DUP":
                stack.append(stack[-1])
            case _:
                self.making_step(opcode, argument)

    def making_step(self, opcode: str, argument: Any) -> None:
        stack = self.stack
        match opcode:
            case "GLOBAL":
                module, _, attribute = argument.partition(" ")
                stack.append(self.reader.allowed(module, attribute))
            case "STACK_GLOBAL":
                module, attribute = stack.pop(-2), stack.pop()
                if not (isinstance(module, str) and isinstance(attribute, str)):
                    raise self.reader.damaged()
                stack.append(self.reader.allowed(module, attribute))
            case "REDUCE" | "NEWOBJ":
                function, arguments = stack.pop(-2), stack.pop()
                if not isinstance(arguments, tuple):
                    raise self.reader.damaged()
                stack.append(self.reader.call(function, arguments))
            case "BUILD":
                state = stack.pop()
                if isinstance(stack[-1], Inert):
                    stack[-1].state = state
                elif not isinstance(stack[-1], dict):  # attributes of a dictionary are not needed
                    raise self.reader.refusal("it changes what is no plain object")
            case "BINPERSID" if self.reader.persistent:
                stack.append(self.reader.persistent(stack.pop()))
            case _:
                raise self.reader.refusal(f"it uses the opcode {opcode}")

    def top(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise self.reader.damaged()
        return self.stack[-count:]

    def unmark(self) -> list[Any]:
        items, self.stack = self.stack, self.below.pop()
        return items

    def target(self, kind: type) -> Any:
        if not isinstance(self.stack[-1], kind):
            raise self.reader.damaged()
        return self.stack[-1]

    def container(self, opcode: str, items: list[Any]) -> Any:
        match opcode:
            case "TUPLE":
                return tuple(items)
            case "LIST":
                return items
            case "DICT":
                return dict(self.pairs(items))
            case _:
                return frozenset(self.keys(items))

    def pairs(self, items: list[Any]) -> list[tuple[Any, Any]]:
        return list(zip(self.keys(items[::2]), items[1::2], strict=True))

    def keys(self, items: list[Any]) -> list[Any]:
        for item in items:
            if not (isinstance(item, str) or (isinstance(item, int) and -SMALL <= item < SMALL)):
                raise self.reader.refusal("it keys a table by what is neither text nor a small number")
        return items
