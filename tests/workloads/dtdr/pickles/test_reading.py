"""Pickled encodings: what is read, and what is refused without being run."""

from __future__ import annotations

import os
import pickle
import pickletools
import struct
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from workloads.dtdr.pickles.machine import CutOff, DataMachine
from workloads.dtdr.pickles.reading import read_pickle
from workloads.dtdr.pickles.stand_ins import NotData, PickledArray, PickledType
from workloads.dtdr.pickles.writing import blockwise_entry, write_pickle
from workloads.errors import InputError

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
RNG = np.random.default_rng(0)
NAME = "model.layers.0.mlp.up_proj.weight"


def tensors() -> dict[str, Any]:
    return {
        NAME: RNG.normal(size=(300, 24)).astype(np.float32),
        "model.norm.weight": np.ones(24, np.float16),
    }


def dumped(path: Path, entries: Any, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(entries, protocol=protocol))
    return path


def read_numbers(path: Path) -> None:
    for tensor in read_pickle(path).values():
        _ = tensor.codes() if tensor.whole is None else tensor.values()


def read_back(found: Any) -> Any:
    """What a machine read, with arrays and bytes as the pickle's writer had them."""
    match found:
        case PickledArray():
            return found.array()
        case memoryview():
            return bytes(found)
        case list():
            return [read_back(each) for each in found]
        case tuple():
            return tuple(read_back(each) for each in found)
        case dict():
            return {key: read_back(value) for key, value in found.items()}
        case _:
            return found


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        native = a.dtype.newbyteorder("=") == b.dtype.newbyteorder("=")
        return native and a.shape == b.shape and np.array_equal(a, b, equal_nan=True)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and a != a:
        return b != b
    return type(a) is type(b) and a == b


ARRAYS = npst.arrays(
    st.one_of(
        npst.integer_dtypes(endianness="?"),
        npst.unsigned_integer_dtypes(endianness="?"),
        npst.floating_dtypes(sizes=(16, 32, 64), endianness="?"),
        npst.boolean_dtypes(),
    ),
    npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
)
PLAIN = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**80), 2**80),
        st.floats(),
        st.text(st.characters(exclude_categories=("Cs",)), max_size=20),
        st.binary(max_size=300),
        ARRAYS,
        ARRAYS.map(np.asfortranarray),
        ARRAYS.map(np.transpose),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(st.text(max_size=5), inner, max_size=5),
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(PLAIN, st.sampled_from(PROTOCOLS))
def test_plain_data_and_arrays_of_every_protocol_are_read_as_pickle_reads_them(
    value: Any, protocol: int
) -> None:
    raw = pickle.dumps(value, protocol=protocol)
    machine = DataMachine(raw)
    assert same(read_back(machine.run()), pickle.loads(raw))
    assert machine.position == len(raw)


@settings(max_examples=40, deadline=None)
@given(PLAIN)
def test_so_is_what_pickletools_made_shorter(value: Any) -> None:
    raw = pickletools.optimize(pickle.dumps(value, protocol=4))
    assert same(read_back(DataMachine(raw).run()), pickle.loads(raw))


@pytest.mark.parametrize("package", [b"numpy.core", b"numpy._core"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_files_of_older_and_newer_numpy_are_read(
    protocol: int, package: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "model.pkl"
    given_tensors = tensors()
    write_pickle(path, given_tensors, block_rows=128, protocol=protocol)
    raw = path.read_bytes()
    if protocol < 4:  # names are lines there: their length may change
        path.write_bytes(raw.replace(b"numpy._core", package))
    elif package == b"numpy.core":
        names = (b"numpy._core.multiarray", b"numpy._core.numeric")
        for name in names:
            old = name.replace(b"_core", b"core")
            raw = raw.replace(
                b"\x8c" + bytes([len(name)]) + name, b"\x8c" + bytes([len(old)]) + old
            )
        path.write_bytes(raw)
    found = read_pickle(path)
    assert found[NAME].shape == (300, 24)
    assert [block.rows for block in found[NAME].blocks] == [128, 128, 44]
    assert np.array_equal(found["model.norm.weight"].values(), np.ones(24))
    expected = blockwise_entry(given_tensors[NAME], 128)["data"]
    assert np.array_equal(found[NAME].codes(), np.vstack(expected["data"]))
    assert found[NAME].blocks[1].low == expected["metadata"][1][0]


def test_text_of_python_2_stands_for_bytes() -> None:
    """A one-row array as Python 2 pickled it: strings where Python 3 has bytes and text."""
    raw = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x00cnumpy\nndarray\nq\x01K\x00\x85q\x02"
        b"U\x01bq\x03\x87q\x04Rq\x05(K\x01K\x01K\x03\x86q\x06cnumpy\ndtype\nq\x07U\x02u1q\x08K\x00"
        b"K\x01\x87q\tRq\n(K\x03U\x01|q\x0bNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x0cb\x89"
        b"U\x03\x01\xff\x03q\rtq\x0eb."
    )
    assert DataMachine(raw).run().array().tolist() == [[1, 255, 3]]


class Runs:
    """Pickles to a call of anything with anything."""

    def __init__(self, call: Callable[..., Any], *given: Any) -> None:
        self.call, self.given = call, given

    def __reduce__(self) -> Any:
        return self.call, self.given


def attacks(mark: Path) -> dict[str, bytes]:
    """Files that make `mark` when they are unpickled by Python."""
    line = f"open({str(mark)!r}, 'w').close()".encode()
    command = f"touch {mark}".encode()
    shell = b"\x8c\x05posix\x8c\x06system\x93"
    told = b"\x8c" + bytes([len(command)]) + command
    entry = {"type": "uncompressed", "data": np.ones(3)}
    return {
        "reduce": pickle.dumps(Runs(os.system, command.decode())),
        "as an entry": pickle.dumps({"a": entry, NAME: Runs(os.system, command.decode())}),
        "as data": pickle.dumps({NAME: {**entry, "data": Runs(exec, line.decode())}}),
        "as a key": pickle.dumps({(Runs(exec, line.decode()), 1): entry}),
        "eval": pickle.dumps(Runs(eval, line.decode())),
        "protocol 0": pickle.dumps(Runs(exec, line.decode()), protocol=0),
        "getattr": b"\x80\x04\x8c\x08builtins\x8c\x07getattr\x93\x8c\x02os\x8c\x06system\x86R.",
        "inst": b"(S'touch " + str(mark).encode() + b"'\niposix\nsystem\n.",
        "obj": b"(cposix\nsystem\nS'touch " + str(mark).encode() + b"'\no.",
        "newobj": b"\x80\x02cbuiltins\nobject\n)\x81.",
        "newobj_ex": b"\x80\x04cbuiltins\nobject\n)}\x92.",
        "name alone": b"\x80\x04" + shell + b".",
        "reduce after pop": b"\x80\x04" + shell + told + b"\x85R0}.",
        "after the data": pickle.dumps({"a": entry})[:-1] + shell + told + b"\x85R0.",
        "after the end": pickle.dumps({"a": entry}) + shell + told + b"\x85R.",
        "build": b"\x80\x04" + shell + b"}\x8c\x01a\x8c\x01bsb.",
        "state of a dict": b"\x80\x04}}\x8c\x06update" + shell + b"sb.",
        "extension": b"\x80\x02\x82\x01.",
        "persistent": b"\x80\x02Q.",
        "persistent line": b"Pposix\n.",
        "nested name": b"\x80\x04\x8c\x05numpy\x8c\x16ndarray.__reduce__.func\x93.",
        "through numpy": b"\x80\x04\x8c\x05numpy\x8c\x04load\x93\x8c\x01x\x85R.",
        "object array": pickle.dumps(
            {NAME: {**entry, "data": np.array([Runs(os.system, command.decode())])}}
        ),
        "call of an array": b"\x80\x04cnumpy\nndarray\n(K\x03tR.",
        "subclass of an array": b"\x80\x04cnumpy._core.multiarray\n_reconstruct\n"
        b"cposix\nsystem\nK\x00\x85C\x01b\x87R.",
        "str as type": b"\x80\x04cnumpy._core.multiarray\n_reconstruct\n"
        b"\x8c\x07ndarrayK\x00\x85C\x01b\x87R.",
    }


@pytest.mark.parametrize("way", attacks(Path("mark")))
def test_a_file_that_tries_to_run_code_is_refused_and_runs_nothing(
    way: str, tmp_path: Path
) -> None:
    mark, path = tmp_path / "ran", tmp_path / "model.pkl"
    path.write_bytes(attacks(mark)[way])
    with pytest.raises(InputError):
        read_pickle(path)
    assert not mark.exists()


def test_the_attacks_are_real(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    ways = ("reduce", "as an entry", "as data", "as a key", "eval", "protocol 0", "inst", "obj",
            "reduce after pop", "after the data", "object array")  # fmt: skip
    for way in ways:
        mark.unlink(missing_ok=True)
        pickle.loads(attacks(mark)[way])
        assert mark.exists(), way


def test_the_refusal_names_what_would_have_run_and_the_tensor(tmp_path: Path) -> None:
    entry = {"type": "uncompressed", "data": np.ones(3)}
    entries = {"first": entry, NAME: Runs(os.system, "true"), "last": entry}
    with pytest.raises(
        InputError, match=rf"in tensor {NAME}: it holds posix.system, which is code"
    ):
        read_pickle(dumped(tmp_path / "model.pkl", entries))
    one = {NAME: Runs(os.system, "true")}
    with pytest.raises(InputError, match=rf"in tensor {NAME}"):
        read_pickle(dumped(tmp_path / "model.pkl", one))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_file_that_is_cut_off_anywhere_is_refused(protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    write_pickle(path, {NAME: np.ones((5, 3), np.float32)}, block_rows=2, protocol=protocol)
    raw = path.read_bytes()
    for length in range(len(raw)):
        with pytest.raises(CutOff):
            DataMachine(raw[:length]).run()
    path.write_bytes(raw[:-1])
    with pytest.raises(InputError, match=r"cut off: it ends at byte \d+; copy"):
        read_pickle(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="empty"):
        read_pickle(path)


def test_a_cut_is_told_with_its_tensor(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    write_pickle(path, {"first": np.ones(8), NAME: np.ones((600, 30), np.float32)})
    path.write_bytes(path.read_bytes()[:-10000])
    with pytest.raises(InputError, match=rf"cut off: it ends at byte \d+, in tensor {NAME}; copy"):
        read_pickle(path)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_whatever_is_changed_in_a_file_it_is_read_or_refused(data: st.DataObject) -> None:
    protocol = data.draw(st.sampled_from(PROTOCOLS))
    entries = {
        "a": {"type": "uncompressed", "data": np.arange(3.0)},
        NAME: blockwise_entry(np.eye(4, 3), 2),
    }
    raw = bytearray(pickle.dumps(entries, protocol=protocol))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path = Path(os.environ["PYTEST_SCRATCH"]) / "model.pkl"
    path.write_bytes(raw)
    with suppress(InputError):
        read_numbers(path)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_refused_without_another_error(raw: bytes) -> None:
    path = Path(os.environ["PYTEST_SCRATCH"]) / "model.pkl"
    path.write_bytes(raw)
    with pytest.raises(InputError):
        read_pickle(path)


@pytest.fixture(autouse=True, scope="module")
def _scratch(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_SCRATCH", str(tmp_path_factory.mktemp("scratch")))
        yield


def entry(**changes: Any) -> dict[str, Any]:
    made = blockwise_entry(np.arange(12, dtype=np.float32).reshape(6, 2), 4)
    made["data"] = {**made["data"], **changes}
    return made


CODES = np.zeros((4, 2), np.uint8)
WRONG: dict[str, tuple[Any, str]] = {
    "unknown type": ({"type": "sparse", "data": 1}, "type 'sparse'; valid: uncompressed"),
    "type that is no text": ({"type": [1], "data": 1}, "type a list"),
    "no type": ({"data": np.ones(3)}, "without type and data"),
    "no dict": (np.ones(3), "without type and data"),
    "no array": ({"type": "uncompressed", "data": [1, 2]}, "its data is a list"),
    "objects": ({"type": "uncompressed", "data": np.array([None])}, "dtype object"),
    "text": ({"type": "uncompressed", "data": np.array(["a"])}, "dtype U1"),
    "nan": ({"type": "uncompressed", "data": np.array([1, np.nan])}, "1 of 2 numbers are NaN"),
    "no bits": ({"type": "compressed_blockwise", "data": {"data": []}}, "lack metadata, bits"),
    "wide": (entry(bits=16), "16 bits a code; valid: 1 to 8"),
    "no blocks": (entry(data=[], metadata=[]), "0 blocks and the metadata of 0"),
    "blocks missing": (entry(data=[CODES]), "1 blocks and the metadata of 2"),
    "floats": (entry(data=[CODES.astype(float), CODES[:2]]), "codes of dtype f8"),
    "codes too large": (entry(bits=3), "block 0 has codes from 0 to 255; valid with 3 bits: 0"),
    "negative": (entry(data=[CODES.astype(int) - 1, CODES[:2]]), "from -1 to -1"),
    "shape": (entry(metadata=[(0.0, 1.0, (9, 2)), (0.0, 1.0, (2, 2))]), "8 codes and the shape"),
    "columns": (entry(metadata=[(0, 1, (4, 2)), (0, 1, (1, 4))]), "block 1 has 4 columns"),
    "uneven": (entry(data=[CODES[:2], CODES], metadata=[(0, 1, (2, 2)), (0, 1, (4, 2))]),
               "block 1 has 4 rows, block 0 has 2"),
    "infinite": (entry(metadata=[(0, np.inf, (4, 2)), (0, 1, (2, 2))]), "largest value of block 0"),
    "huge": (entry(metadata=[(0, 10**400, (4, 2)), (0, 1, (2, 2))]), "largest value of block 0"),
    "reversed": (entry(metadata=[(1, 0, (4, 2)), (0, 1, (2, 2))]), "from 1 down to 0"),
    "short metadata": (entry(metadata=[(0, 1), (0, 1)]), r"are not \(least, largest, shape\)"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_an_entry_that_is_not_of_the_format_is_refused_by_name(what: str, tmp_path: Path) -> None:
    wrong, why = WRONG[what]
    path = dumped(tmp_path / "model.pkl", {NAME: wrong})
    with pytest.raises(InputError, match=why) as refused:
        read_numbers(path)
    assert NAME in str(refused.value)
    assert str(path) in str(refused.value)


def test_more_after_the_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    write_pickle(path, tensors())
    path.write_bytes(path.read_bytes() + b"\0\0\0")
    with pytest.raises(InputError, match="3 bytes after its end"):
        read_pickle(path)


def test_claims_of_enormous_sizes_cost_nothing(tmp_path: Path) -> None:
    """Lengths are held against the file before anything is set aside for them."""
    path = tmp_path / "model.pkl"
    for code in (b"\x8e", b"\x96", b"\x8d"):
        path.write_bytes(b"\x80\x05" + code + struct.pack("<Q", 1 << 60) + b"abc.")
        with pytest.raises(InputError, match="cut off"):
            read_pickle(path)


def test_a_text_that_is_made_bytes_again_and_again_is_refused() -> None:
    """A small file must not fill the memory: 8 KiB of text, and 1000 copies of it by recalls."""
    text = b"X" + struct.pack("<I", 8192) + b"x" * 8192
    named = b"c_codecs\nencode\nq\x00" + text + b"q\x01X\x06\x00\x00\x00latin1q\x02"
    copies = b"h\x00h\x01h\x02\x86R" * 1000
    with pytest.raises(NotData, match="made bytes many times"):
        DataMachine(b"(" + named + copies + b"l.").run()
    dtype = b"cnumpy\ndtype\n(U\x02u1tR"
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00U\x01btR"
    state = b"(K\x01(M\x00 tq\x03" + dtype + b"q\x04\x89h\x01tb"
    once = b"(" + text + b"q\x01" + array + state
    again = array + b"(K\x01h\x03h\x04\x89h\x01tb"
    assert len(DataMachine(once + b"l.").run()) == 2
    with pytest.raises(NotData, match="made bytes many times"):
        DataMachine(once + again * 200 + b"l.").run()


def test_an_array_that_is_never_filled_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotData, match="never filled"):
        PickledArray().array()
    path = tmp_path / "model.pkl"
    raw = b"\x80\x04}\x8c\x01aN}(\x8c\x04type\x8c\x0cuncompressed\x8c\x04data"
    raw = raw.replace(b"N}", b"}")
    array = b"cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
    path.write_bytes(raw + array + b"us.")
    with pytest.raises(InputError, match="tensor a"):
        read_pickle(path)


def test_an_array_that_is_filled_twice_is_what_it_was_filled_with_last() -> None:
    """First three by two and transposed, then a row of three."""
    array = np.asfortranarray(np.arange(6, dtype=np.uint8).reshape(2, 3)).T
    raw = pickle.dumps(np.moveaxis(array.reshape(3, 2, 1), 0, 1), protocol=5)
    state = pickle.dumps((1, (3,), np.dtype("u1"), False, b"abc"), protocol=4)[11:-1]
    found = DataMachine(raw[:-1] + state + b"b.").run()
    assert found.final_shape == (3,)
    assert bytes(found.array()) == b"abc"


@pytest.mark.parametrize("shape", [(0, 1 << 62), (0, 1 << 40, 1 << 40), (-1,), (0,) * 33, (True,)])
def test_an_array_of_no_possible_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(NotData, match="no tuple of sizes"):
        PickledArray().set(shape, PickledType("u1"), False, memoryview(b""))


def test_reading_a_file_loads_no_torch() -> None:
    code = "import sys, workloads.dtdr.pickles; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=100).returncode == 0


def test_a_dict_of_another_class_is_refused(tmp_path: Path) -> None:
    path = dumped(tmp_path / "model.pkl", OrderedDict(a=1))
    with pytest.raises(InputError, match=r"collections\.OrderedDict"):
        read_pickle(path)


@pytest.mark.parametrize("found", [[], {}, 3, None])
def test_a_file_without_tensors_is_refused(found: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no tensors"):
        read_pickle(dumped(tmp_path / "model.pkl", found))
