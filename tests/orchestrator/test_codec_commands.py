"""`orrery encode`, `decode` and `inspect` from the shell."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner, Result

from orchestrator.cli.app import app
from orchestrator.cli.long_work import told_in_one_line
from orchestrator.errors import UsageError
from tests.workloads.dtdr.files.models import odd_tensors, saved_model
from tests.workloads.dtdr.files.test_decoding import damage
from workloads.dtdr.files.writing import new_folder


def orrery(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def refused(*words: object) -> str:
    done = orrery(*words)
    assert isinstance(done.exception, UsageError), done.output
    return str(done.exception)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return saved_model(tmp_path / "model", odd_tensors())


@pytest.fixture
def encoded(tmp_path: Path, model: Path) -> Path:
    done = orrery("encode", model, "--out", tmp_path / "encoded", "--block-rows", 4)
    assert done.exit_code == 0, done.output
    return tmp_path / "encoded"


def test_a_model_is_encoded_inspected_and_decoded(tmp_path: Path) -> None:
    from workloads.models import load_model, load_tokenizer

    done = orrery("encode", "embedded:llama", "--out", tmp_path / "e", "--json")
    told = json.loads(done.stdout)
    assert told["disk_bytes"] == sum(file.stat().st_size for file in (tmp_path / "e").iterdir())
    assert (told["transform"], told["quantiser"], told["block_rows"]) == ("hadamard", "row", 4)
    assert 3.5 < told["ratio"] < 4
    shown = orrery("inspect", tmp_path / "e", "--against", "embedded:llama").stdout
    assert "model.layers.7.mlp.up_proj.weight" in shown
    assert "relative L2 error 0.006" in shown
    assert "KiB on disk with headers, index and copied files" in shown
    assert orrery("decode", tmp_path / "e", "--out", tmp_path / "d").exit_code == 0
    assert load_model(str(tmp_path / "d")).num_parameters() > 300_000
    assert load_tokenizer(str(tmp_path / "d"))("Once")["input_ids"]


def test_part_of_a_model_is_decoded_with_a_fill(tmp_path: Path, model: Path, encoded: Path) -> None:
    from safetensors.torch import load_file

    words = ("--fraction", 0.5, "--fill", "guided", "--anchor", model, "--scale", 0.5)
    done = orrery("decode", encoded, "--out", tmp_path / "d", *words)
    assert done.exit_code == 0, done.output
    matrix = load_file(tmp_path / "d" / "model.safetensors")["matrix"]
    assert torch.equal(matrix[4:], odd_tensors()["matrix"][4:] * 0.5)
    assert not torch.equal(matrix[:4], odd_tensors()["matrix"][:4])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--fraction", 0), "fraction: 0.0 is no share to keep"),
        (("--fraction", 1.5), "fraction: 1.5 is no share to keep"),
        (("--fill", "guide", "--fraction", 0.5), "did you mean guided"),
        (("--fill", "guided", "--fraction", 0.5), "there is none; give an anchor"),
        (("--domain", "row"), "did you mean rows"),
        (("--dtype", "float8"), "dtype 'float8' is not known"),
        (("--damaged", "mend"), "damaged: 'mend'"),
        (("--fill", "guided", "--anchor", "no/such/anchor"), "no model at 'no/such/anchor'"),
        (("--anchor", "embedded:llama"), "--anchor changes nothing with --fill zero"),
        (("--fill", "random", "--shuffled"), "--shuffled changes nothing with --fill random"),
        (("--scale", 0.5), "--scale changes nothing"),
        (("--noise", 1e308), "numbers come out NaN or infinite as float32"),
    ],
)
def test_what_cannot_be_decoded_is_refused_and_nothing_is_left(
    tmp_path: Path, encoded: Path, words: tuple[object, ...], message: str
) -> None:
    assert message in refused("decode", encoded, "--out", tmp_path / "d", *words)
    assert sorted(os.listdir(tmp_path)) == ["encoded", "model"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("embedded:lama",), "no embedded model 'lama'"),
        (("embedded:llama", "--transform", "hadamar"), "did you mean hadamard"),
        (("embedded:llama", "--quantiser", "rows"), "did you mean row"),
        (("embedded:llama", "--block-rows", 0), "--block-rows 0 is no number of rows"),
        (("embedded:llama", "--model", "embedded:llama"), "--model goes with a .pkl file"),
        (("weights.pkl",), "give the model that they are of with --model"),
        (("weights.pkl", "--model", "embedded:llama", "--transform", "dct"), "encoded already"),
    ],
)
def test_what_cannot_be_encoded_is_refused(
    tmp_path: Path, words: tuple[object, ...], message: str
) -> None:
    assert message in refused("encode", *words, "--out", tmp_path / "out")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("file/x", "takes no folder (a file is in the way)"),
        ("x" * 300, "takes no folder (File name too long)"),
        ("model/inside", "which is read; give another folder"),
    ],
)
def test_a_target_that_cannot_be_is_refused_in_one_line(
    tmp_path: Path, model: Path, out: str, message: str
) -> None:
    (tmp_path / "file").touch()
    assert message in refused("encode", model, "--out", tmp_path / out)
    assert sorted(os.listdir(tmp_path)) == ["file", "model"]
    assert sorted(os.listdir(model)) == ["config.json", "model.safetensors"]


def test_a_model_is_never_decoded_into_its_encoding(encoded: Path) -> None:
    assert "which is read" in refused("decode", encoded, "--out", encoded / "decoded")


def test_a_folder_that_may_not_be_written_to_needs_no_free_space(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(typer.Exit) as ended, told_in_one_line(tmp_path / "out"):
        raise OSError(errno.EROFS, "Read-only file system")
    said = capsys.readouterr().err
    assert ended.value.exit_code == 1
    assert "Read-only file system" in said
    assert "Give another --out" in said
    assert "Free some space" not in said


def test_a_notice_to_end_is_taken_as_an_interruption(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with told_in_one_line(tmp_path / "out"), new_folder(tmp_path / "out") as folder:
                (folder / "half").write_text("half")
                os.kill(os.getpid(), signal.SIGTERM)
                signal.pause()
        except typer.Exit as ended:
            code = ended.exit_code
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    assert os.listdir(tmp_path) == []


def test_help_says_what_is_taken_where_nothing_is_given() -> None:
    shown = orrery("encode", "--help").output
    for default in ("(hadamard)", "(row)", "128 blocks", "org/name@revision"):
        assert default in shown
    assert "(0.15)" in orrery("decode", "--help").output


def test_damage_is_told_with_an_exit_code_and_can_be_filled(tmp_path: Path, encoded: Path) -> None:
    assert orrery("inspect", encoded).exit_code == 0
    damage(encoded, "matrix", 5 * 8)
    shown = orrery("inspect", encoded)
    assert shown.exit_code == 1
    assert "damaged: matrix, blocks 1" in shown.stdout
    assert "tensor matrix in" in refused("decode", encoded, "--out", tmp_path / "d")
    filled = orrery("decode", encoded, "--out", tmp_path / "d", "--damaged", "fill")
    assert filled.exit_code == 0
    assert "damaged and filled: matrix, 1 block" in filled.stderr


def test_of_many_damaged_blocks_the_first_are_listed(tmp_path: Path, model: Path) -> None:
    orrery("encode", model, "--out", tmp_path / "e", "--block-rows", 1)
    for row in range(8):
        damage(tmp_path / "e", "matrix", row * 8)
    shown = orrery("inspect", tmp_path / "e").stdout
    assert "damaged: matrix, blocks 0, 1, 2, 3, 4, 5 and 2 more\n" in shown


def test_padding_is_told_with_what_needs_none(tmp_path: Path, model: Path) -> None:
    done = orrery("encode", model, "--out", tmp_path / "h")
    assert "stands for zeros: hadamard pads rows to a power of two" in done.stderr
    done = orrery("encode", model, "--out", tmp_path / "d", "--transform", "dct")
    assert "zeros" not in done.output


def test_a_folder_in_place_needs_force(tmp_path: Path, model: Path, encoded: Path) -> None:
    assert "--force" in refused("encode", model, "--out", encoded)
    done = orrery("encode", model, "--out", encoded, "--transform", "dct", "--force")
    assert done.exit_code == 0
    assert json.loads(orrery("inspect", encoded, "--json").stdout)["transform"] == "dct"
    assert orrery("decode", encoded, "--out", tmp_path / "d").exit_code == 0
    assert orrery("decode", encoded, "--out", tmp_path / "d", "--force").exit_code == 0
    for folder in (encoded, tmp_path / "d"):
        (folder / "notes.txt").write_text("mine")
        assert "did not write (notes.txt)" in refused("encode", model, "--out", folder, "--force")
        assert (folder / "notes.txt").read_text() == "mine"


def test_a_disk_that_refuses_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: both refuse in the middle of a file."""

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    model = saved_model(tmp_path / "model", {"matrix": torch.ones(600, 512)})
    words = ("encode", str(model), "--out", str(tmp_path / "out"))
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator.cli", *words],
        preexec_fn=limited,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("\n") == 1
    assert f"Nothing was left at {tmp_path / 'out'}" in done.stderr
    assert os.listdir(tmp_path) == ["model"]


def test_a_pickled_encoding_becomes_a_folder(tmp_path: Path, model: Path) -> None:
    from safetensors.torch import load_file

    from workloads.dtdr.pickles.writing import write_pickle

    tensors = {name: odd_tensors()[name].numpy() for name in ("matrix", "vector")}
    write_pickle(tmp_path / "weights.pkl", tensors, block_rows=4)
    words = ("encode", tmp_path / "weights.pkl", "--model", model, "--out", tmp_path / "e")
    done = orrery(*words)
    assert done.exit_code == 0, done.output
    told = json.loads(orrery("inspect", tmp_path / "e", "--against", model, "--json").stdout)
    (matrix,) = (tensor for tensor in told["tensors"] if tensor["name"] == "matrix")
    assert matrix["recipe"] == {"transform": "none", "quantiser": "minmax", "block_rows": 4}
    assert 0 < matrix["relative_l2"] < 0.01
    assert orrery("decode", tmp_path / "e", "--out", tmp_path / "d").exit_code == 0
    read = load_file(tmp_path / "d" / "model.safetensors")
    assert torch.equal(read["kernel"], odd_tensors()["kernel"])  # the file does not have it
    assert torch.allclose(read["matrix"], odd_tensors()["matrix"], atol=0.02)
