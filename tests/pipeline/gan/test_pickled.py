"""Pickles are data or they are refused: nothing they name is fetched, called or run."""

import collections
import contextlib
import io
import os
import pickle
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.errors import InputError
from pipeline.gan import pickled
from pipeline.gan.pickled import PickleReader


def read(data, calls=None, names=(), size=None):
    reader = PickleReader("x.pkl", len(data) if size is None else size, calls or {}, names)
    return reader.read(io.BytesIO(data))


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers(-(2**31), 2**31 - 1), inner)
    ),
    max_leaves=20,
)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@settings(max_examples=40)
@given(value=plain)
def test_plain_data_is_what_pythons_own_reader_makes_of_it(protocol, value):
    if protocol < 3:
        value = without_bytes(value)
    assert read(pickle.dumps(value, protocol)) == value


def without_bytes(value):
    """Bytes are a call in the old protocols."""
    if isinstance(value, bytes):
        return ""
    if isinstance(value, list | tuple):
        return type(value)(without_bytes(v) for v in value)
    return {k: without_bytes(v) for k, v in value.items()} if isinstance(value, dict) else value


def test_sets():
    assert read(pickle.dumps({"a", "b"}, 4)) == {"a", "b"}
    assert read(pickle.dumps(frozenset(["a", 3]), 4)) == {"a", 3}


def test_a_thing_that_is_named_twice_is_one_thing():
    inner = [1]
    found = read(pickle.dumps([inner, inner], 4))
    assert found[0] is found[1]


class Call:
    """Pickles as a call."""

    def __init__(self, function, *arguments, state=None):
        self.parts = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.parts


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_call_off_the_list_is_refused_and_not_made(protocol, tmp_path):
    marker = tmp_path / "ran"
    with pytest.raises(InputError, match=r"x\.pkl is not read, because it names .*system.*nothing in it was run"):
        read(pickle.dumps({"G_ema": Call(os.system, f"touch {marker}")}, protocol))
    assert not marker.exists()


@pytest.mark.parametrize(
    "name",
    [
        "builtins eval",
        "builtins getattr",
        "posix system",
        "torch load",
        "numpy load",
        "importlib import_module",
        "a b.c",
    ],
)
def test_a_global_off_the_list_is_refused_even_uncalled(name):
    calls = {"builtins.set": set, "torch._utils._rebuild_tensor_v2": print}
    with pytest.raises(InputError, match="which no checkpoint needs"):
        read(b"c" + name.replace(" ", "\n").encode() + b"\n.", calls)


@pytest.mark.parametrize(
    "program",
    [
        b"(S'touch x'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'touch x'\no.",  # OBJ
        b"\x82\x01.",  # EXT1
        b"Pid\n.",  # PERSID
        b"Vid\nQ.",  # BINPERSID
        b"\x80\x04\x8c\x02os\x8c\x06system\x93)}\x92.",  # NEWOBJ_EX
        b"\x97.",  # NEXT_BUFFER
    ],
)
def test_other_ways_to_make_objects_are_refused(program):
    with pytest.raises(InputError, match="nothing in it was run"):
        read(program)


def test_calls_go_to_the_readers_table_only():
    data = pickle.dumps(Call(collections.OrderedDict), 4)
    assert read(data, {"collections.OrderedDict": lambda: "mine"}) == "mine"
    with pytest.raises(InputError, match="no known maker of data"):
        read(data, names=["collections.OrderedDict"])  # may be named, not called
    with pytest.raises(InputError, match="no known maker of data"):
        read(b"N)R.")  # calls None
    with pytest.raises(InputError, match="changes what is no plain object"):
        read(b"\x80\x02ccollections\nOrderedDict\n}b.", names=["collections.OrderedDict"])  # attributes of a global


def test_an_object_keeps_what_it_was_made_of():
    data = pickle.dumps(Call(collections.Counter, 1, state={"a": 2}), 4)
    found = read(data, {"collections.Counter": lambda *parts: pickled.Inert(parts)})
    assert (found.parts, found.state) == ((1,), {"a": 2})


def test_laughs_in_proportion_to_the_file():
    """A list of the list twice, thirty times over: as large as a billion in print, thirty lists in memory."""
    program = b"]" + b"".join(b"q%c]h%ch%c\x86a" % (i, i, i) for i in range(30)) + b"."
    laughs = read(program)
    for _ in range(30):
        assert laughs[0][0] is laughs[0][1]
        laughs = laughs[0][0]


def test_a_nested_tuple_is_never_hashed():
    nested = b")" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(64))
    for program in (b"}" + nested + b"Ns.", b"\x8f(" + nested + b"\x90.", b"(" + nested + b"\x91."):
        with pytest.raises(InputError, match="keys a table by"):
            read(program)


def test_the_same_bytes_are_not_multiplied_by_calls():
    big = b"X" + struct.pack("<I", 1000) + b"a" * 1000 + b"q\x01"
    program = b"]" + big + b"a" + b"c_codecs\nencode\nq\x020(" + b"h\x02h\x01\x85R" * 50 + b"l."
    with pytest.raises(InputError, match="the same bytes again and again"):
        read(program, {"_codecs.encode": lambda text: text.encode()})


def test_a_program_has_its_longest_length(monkeypatch):
    monkeypatch.setattr(pickled, "MOST_STEPS", 100)
    assert read(b"]" + b"Na" * 40 + b".") == [None] * 40
    with pytest.raises(InputError, match="more than 100 steps"):
        read(b"]" + b"Na" * 60 + b".")


@pytest.mark.parametrize(
    "program",
    [
        b"",
        b".",
        b"]",
        b"h\x05.",
        b"a.",
        b"(.",
        b"\x8a\xff.",
        b"\x85.",
        b"Ns.",
        b"}NNN\x93.",
        b"B\xff\xff\xff\x7fa.",
        b"I12x\n.",
    ],
)
def test_damage_is_one_clear_line(program):
    with pytest.raises(InputError, match=r"x\.pkl is (damaged|not read)"):
        read(program)


def test_a_declared_length_is_not_believed():
    """A text of eight gigabytes in a file of ten bytes takes no memory."""
    with pytest.raises(InputError, match="damaged"):
        read(b"\x80\x04\x8e" + struct.pack("<Q", 2**33) + b"a.")


@settings(max_examples=300)
@given(data=st.data())
def test_random_changes_end_in_data_or_one_error(data):
    program = bytearray(pickle.dumps({"a": [1, (2, b"3"), {"b": {"c"}}], "d": collections.OrderedDict(e=1.5)}, 4))
    for _ in range(data.draw(st.integers(1, 4))):
        program[data.draw(st.integers(0, len(program) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(InputError):
        read(bytes(program), {"collections.OrderedDict": lambda: {}})
