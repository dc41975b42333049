"""Digits, CIFAR-10 Parquet files and text are read alike everywhere, and refused with a reason."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from workloads.errors import InputError
from workloads.morphogenesis.config import MorphogenesisConfig
from workloads.morphogenesis.data import check_data, data_fingerprint, load_data, scored_examples
from workloads.morphogenesis.data.splits import IGNORED

SHARED = Path(__file__).parents[4].parent / "shared" / "data"


def cifar_folder(folder: Path, side: int = 32, label: int = 3) -> Path:
    import numpy as np
    import pyarrow
    import pyarrow.parquet as parquet
    from PIL import Image

    folder.mkdir()
    for name, rows in (("train-20", 20), ("test-12", 12)):
        images = []
        for row in range(rows):
            encoded = io.BytesIO()
            Image.fromarray(np.full((side, side, 3), 10 * row, np.uint8)).save(encoded, "PNG")
            images.append({"bytes": encoded.getvalue(), "path": f"{row}.png"})
        labels = [row % 10 for row in range(rows - 1)] + [label]
        table = pyarrow.table({"img": images, "label": labels})
        parquet.write_table(table, folder / f"{name}.parquet")
    return folder


def test_digits_are_split_without_overlap() -> None:
    data = load_data(MorphogenesisConfig(), "cpu")
    units = [set(split.units) for split in (data.train, data.val, data.test)]
    assert [len(each) for each in units] == [997, 400, 400]
    assert len(set.union(*units)) == 1797
    assert data.train.inputs.shape == (997, 1, 8, 8)
    assert data.train.inputs.min() == -1
    assert data.train.inputs.max() == 1
    assert sorted(set(data.test.targets.tolist())) == list(range(10))


def test_fewer_samples_are_the_first_of_them() -> None:
    whole = load_data(MorphogenesisConfig(), "cpu")
    few = load_data(MorphogenesisConfig(samples=50, eval_samples=20), "cpu")
    assert few.train.units == whole.train.units[:50]
    assert few.val.units == whole.val.units[:20]
    assert few.test.targets.tolist() == whole.test.targets[:20].tolist()


def test_cifar_files_are_read(tmp_path: Path) -> None:
    config = MorphogenesisConfig(data=str(cifar_folder(tmp_path / "cifar")))
    check_data(config)
    data = load_data(config, "cpu")
    assert (len(data.train), len(data.val), len(data.test)) == (18, 2, 12)
    assert scored_examples(config) == 12
    assert data.train.inputs.shape == (18, 3, 32, 32)
    assert data.val.units == ("train-18", "train-19")
    expected = (10 / 255 - 0.4914) / 0.2470
    assert data.train.inputs[1, 0, 5, 5].item() == pytest.approx(expected, rel=1e-5)
    assert data.class_names[data.test.targets[3]] == "cat"


def test_a_moved_folder_is_the_same_data(tmp_path: Path) -> None:
    here = MorphogenesisConfig(data=str(cifar_folder(tmp_path / "one")))
    there = MorphogenesisConfig(data=str(cifar_folder(tmp_path / "two")))
    other = MorphogenesisConfig(data=str(cifar_folder(tmp_path / "three", label=4)))
    assert data_fingerprint(here) == data_fingerprint(there) != data_fingerprint(other)


def test_wrong_images_are_refused(tmp_path: Path) -> None:
    small = MorphogenesisConfig(data=str(cifar_folder(tmp_path / "small", side=16)))
    with pytest.raises(InputError, match="16 x 16; valid: 32 x 32"):
        load_data(small, "cpu")
    strange = MorphogenesisConfig(data=str(cifar_folder(tmp_path / "strange", label=10)))
    with pytest.raises(InputError, match="labels go from 8 to 10"):
        load_data(strange, "cpu")


def test_what_is_no_image_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="sklearn:digits"):
        check_data(MorphogenesisConfig(data="sklearn:digit"))
    with pytest.raises(InputError, match=r"0 train-\*\.parquet"):
        check_data(MorphogenesisConfig(data=str(tmp_path)))
    cifar_folder(tmp_path / "torn")
    (tmp_path / "torn" / "train-20.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="no readable Parquet file"):
        check_data(MorphogenesisConfig(data=str(tmp_path / "torn")))


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        ([], [], "0 rows in its training files and 12"),
        ([b"one"], [0], "1 rows in its training files"),
        (["picture"] * 20, ["cat"] * 20, r"label \(string\); valid"),
        ([b"not encoded"] * 20, [0] * 20, "image train-0 is in no known image format"),
        ([None] * 20, [0] * 20, "an image of the split train or its label is missing"),
        (["picture"] * 20, [None] * 20, "an image of the split train or its label is missing"),
        (["torn"] * 20, [0] * 20, "image train-0 cannot be decoded"),
        (["picture"] * 20, [-1] * 20, "labels go from -1 to -1"),
    ],
)
def test_odd_images_are_refused_with_the_reason(
    tmp_path: Path, images: list[Any], labels: list[Any], said: str
) -> None:
    import pyarrow
    import pyarrow.parquet as parquet

    folder = cifar_folder(tmp_path / "odd")
    good = parquet.read_table(folder / "test-12.parquet").column("img")[0]["bytes"].as_py()
    known = {"picture": good, "torn": good[:-20]}
    given = [{"bytes": known.get(each, each), "path": ""} for each in images]
    shape = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    kind = pyarrow.string() if "cat" in labels else pyarrow.int64()
    table = {"img": pyarrow.array(given, shape), "label": pyarrow.array(labels, kind)}
    parquet.write_table(pyarrow.table(table), folder / "train-20.parquet")
    config = MorphogenesisConfig(data=str(folder))
    with pytest.raises(InputError, match=said):
        load_data(config, "cpu")


def test_files_of_one_folder_may_differ_in_their_types(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet as parquet

    folder = cifar_folder(tmp_path / "cifar")
    images = [each["bytes"] for each in parquet.read_table(
        folder / "train-20.parquet").column("img").to_pylist()]  # fmt: skip
    other = {"img": [{"bytes": each} for each in images], "label": pyarrow.array([3] * 20, "int8")}
    parquet.write_table(pyarrow.table(other), folder / "train-21.parquet")
    data = load_data(MorphogenesisConfig(data=str(folder)), "cpu")
    assert (len(data.train), len(data.val)) == (36, 4)
    assert data.train.targets[20:].tolist() == [3] * 16


def test_more_than_there_is_cannot_be_had(tmp_path: Path) -> None:
    for fields, said in (
        ({"samples": 998}, "samples=998, but the split train has 997"),
        ({"eval_samples": 401}, "eval_samples=401, but the split val has 400"),
        ({"data": str(cifar_folder(tmp_path / "few")), "samples": 19}, "train has 18"),
    ):
        with pytest.raises(InputError, match=said):
            check_data(MorphogenesisConfig.model_validate(fields))
    (tmp_path / "texts.jsonl").write_text('{"text": "a story"}\n' * 40)
    text = {"host": "gpt", "data": str(tmp_path / "texts.jsonl")}
    with pytest.raises(InputError, match="at least 8 bytes"):
        load_data(MorphogenesisConfig.model_validate(text), "cpu")
    texts = "\n".join(f'{{"text": "story number {n} is short"}}' for n in range(40))
    (tmp_path / "texts.jsonl").write_text(texts)
    with pytest.raises(InputError, match="samples=50, but the split train has"):
        load_data(MorphogenesisConfig.model_validate({**text, "samples": 50}), "cpu")


@pytest.mark.skipif(not (SHARED / "cifar10").is_dir(), reason="no ../shared/data/cifar10")
def test_the_real_cifar_is_read() -> None:
    config = MorphogenesisConfig(data=str(SHARED / "cifar10"), samples=64, eval_samples=32)
    data = load_data(config, "cpu")
    assert (len(data.train), len(data.val), len(data.test)) == (64, 32, 32)
    assert data.val.units[0] == "train-45000"
    assert abs(data.train.inputs.mean().item()) < 0.3
    assert scored_examples(config.model_copy(update={"eval_samples": None})) == 10_000


def test_text_predicts_its_next_byte() -> None:
    config = MorphogenesisConfig(
        host="gpt", data="embedded:stories", context=32, samples=40, eval_samples=20
    )
    data = load_data(config, "cpu")
    assert data.train.inputs.shape == (40, 32)
    assert (data.train.inputs[0, 1:] == data.train.targets[0, :-1]).all()
    assert data.classes == 256
    stories = [set(split.clusters) for split in (data.train, data.val, data.test)]
    assert not stories[0] & stories[1]
    assert not stories[1] & stories[2]


def test_the_padding_of_a_short_text_is_not_asked_for(tmp_path: Path) -> None:
    texts = "\n".join(f'{{"text": "story number {n} is short"}}' for n in range(40))
    (tmp_path / "texts.jsonl").write_text(texts)
    config = MorphogenesisConfig(host="gpt", data=str(tmp_path / "texts.jsonl"), context=64)
    data = load_data(config, "cpu")
    assert (len(data.train), len(data.val), len(data.test)) == (28, 6, 6)
    asked = (data.train.targets[0] != IGNORED).sum().item()
    assert asked == len(bytes(data.train.inputs[0].tolist()).rstrip(b"\0"))


def test_questions_are_no_running_text() -> None:
    for data in ("embedded:questions", "sklearn:digits"):
        with pytest.raises(InputError, match="embedded:stories"):
            check_data(MorphogenesisConfig(host="gpt", data=data))
