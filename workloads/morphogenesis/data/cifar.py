"""CIFAR-10 as a folder of Parquet files, `train-*.parquet` and `test-*.parquet`.

Their columns are the hub's: `img` (a struct whose `bytes` is an encoded image) and `label`. The
rows are taken in the order in which they lie; the last tenth of the training rows is validation.
Source of the data: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from workloads.errors import InputError
from workloads.morphogenesis.data.splits import Data, Split, check_enough

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CLASSES: Final = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
VALIDATION_SHARE: Final = 0.1
"""Of the training file, its last rows."""

_SIDE: Final = 32
_MEAN: Final = (0.4914, 0.4822, 0.4465)
_DEVIATION: Final = (0.2470, 0.2435, 0.2616)


def parquet_files(folder: Path) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """The training and the test files, in the order of their names. Raises `InputError`."""
    train, test = (
        tuple(sorted(path for path in folder.glob(f"{part}-*.parquet") if path.is_file()))
        for part in ("train", "test")
    )
    if not train or not test:
        raise InputError(
            f"{folder} has {len(train)} train-*.parquet and {len(test)} test-*.parquet files; "
            "valid: a folder of CIFAR-10 in Parquet with at least one of each"
        )
    return train, test


def row_counts(folder: Path) -> tuple[int, int, int]:
    """How many images there are for training, validation and test. Raises `InputError` for other
    columns, and where one of the three would be empty."""
    rows, test = (_rows(files) for files in parquet_files(folder))
    held_out = max(1, int(rows * VALIDATION_SHARE))
    if rows <= held_out or not test:
        raise InputError(
            f"{folder} has {rows} rows in its training files and {test} in its test files; valid: "
            "at least 2 (the last tenth is for validation) and 1"
        )
    return rows - held_out, held_out, test


def load_cifar(folder: Path, samples: int | None, eval_samples: int | None) -> Data:
    """Images scaled by the set's own mean and deviation. Only what is asked for is decoded."""
    train_files, test_files = parquet_files(folder)
    train, val, test = row_counts(folder)
    return Data(
        train=_split("train", train_files, 0, train, samples),
        val=_split("val", train_files, train, val, eval_samples),
        test=_split("test", test_files, 0, test, eval_samples),
        classes=len(CLASSES),
        input_shape=(3, _SIDE, _SIDE),
        class_names=CLASSES,
    )


def _rows(files: Sequence[Path]) -> int:
    import pyarrow
    import pyarrow.parquet as parquet

    total = 0
    for path in files:
        try:
            opened = parquet.ParquetFile(path)
        except (OSError, pyarrow.ArrowException) as error:
            raise _unreadable(path, error) from error
        if not _is_valid(opened.schema_arrow):
            columns = ", ".join(f"{each.name} ({each.type})" for each in opened.schema_arrow)
            raise InputError(
                f"{path} has the columns {columns}; valid: img (a struct with bytes, an encoded "
                "image) and label (a whole number)"
            )
        total += opened.metadata.num_rows
    return total


def _is_valid(schema: Any) -> bool:
    """Whether a file's columns hold encoded images and classes."""
    from pyarrow import types

    if not {"img", "label"} <= set(schema.names):
        return False
    image, label = schema.field("img").type, schema.field("label").type
    if not (types.is_struct(image) and image.get_field_index("bytes") >= 0):
        return False
    content = image.field("bytes").type
    encoded = types.is_binary(content) or types.is_large_binary(content)
    return bool(encoded and types.is_integer(label))


def _read(path: Path) -> Any:
    """The encoded images and the labels of a file, of the same types for every file."""
    import pyarrow
    import pyarrow.compute as compute
    import pyarrow.parquet as parquet

    try:
        table = parquet.read_table(path, columns=["img", "label"])
    except (OSError, pyarrow.ArrowException) as error:
        raise _unreadable(path, error) from error
    images = compute.struct_field(table.column("img"), "bytes")
    return pyarrow.table(
        {
            "image": images.cast(pyarrow.large_binary()),
            "label": table.column("label").cast(pyarrow.int64()),
        }
    )


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path} is no readable Parquet file ({str(error).splitlines()[0]}); give a folder of "
        "CIFAR-10 in Parquet"
    )


def _split(name: str, files: Sequence[Path], start: int, size: int, number: int | None) -> Split:
    import numpy as np
    import pyarrow
    import torch

    check_enough(name, size, number)
    table = pyarrow.concat_tables(map(_read, files)).slice(start, number or size)
    units = tuple(
        f"{'test' if name == 'test' else 'train'}-{start + row}" for row in range(len(table))
    )
    if table.column("image").null_count or table.column("label").null_count:
        raise InputError(f"{files[0].parent}: an image of the split {name} or its label is missing")
    labels = np.array(table.column("label").to_numpy())
    if not (labels.min() >= 0 and labels.max() < len(CLASSES)):
        raise InputError(
            f"{files[0].parent}: labels go from {labels.min()} to {labels.max()}; valid: 0 to 9"
        )
    images = table.column("image").to_pylist()
    pixels = np.stack(
        [
            _pixels(image, f"{files[0].parent}: image {unit}")
            for image, unit in zip(images, units, strict=True)
        ]
    )
    scaled = (pixels - np.array(_MEAN, np.float32)) / np.array(_DEVIATION, np.float32)
    return Split(
        name,
        torch.from_numpy(np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))),
        torch.from_numpy(labels),
        units,
        units,
    )


def _pixels(image: bytes, which: str) -> NDArray[np.float32]:
    """Red, green and blue in [0, 1], `[height, width, 3]`. `which` names it in an `InputError`."""
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(image)) as opened:
            pixels = np.asarray(opened.convert("RGB"), dtype=np.float32) / 255.0
    except UnidentifiedImageError as error:
        raise InputError(f"{which} is in no known image format; mend the file") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{which} cannot be decoded ({error}); mend the file") from error
    if pixels.shape != (_SIDE, _SIDE, 3):
        raise InputError(
            f"{which} is {pixels.shape[1]} x {pixels.shape[0]}; valid: {_SIDE} x {_SIDE}"
        )
    return pixels
