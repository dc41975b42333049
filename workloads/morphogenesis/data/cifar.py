"""CIFAR-10 as a folder of Parquet files, `train-*.parquet` and `test-*.parquet`.

Their columns are the hub's: `img` (a struct whose `bytes` is an encoded image) and `label`. The
rows are taken in the order in which they lie.
Source of the data: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from workloads.errors import InputError
from workloads.morphogenesis.data.splits import Data, Split

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
    train, test = (tuple(sorted(folder.glob(f"{part}-*.parquet"))) for part in ("train", "test"))
    if not train or not test:
        raise InputError(
            f"{folder} has {len(train)} train-*.parquet and {len(test)} test-*.parquet files; "
            "valid: a folder of CIFAR-10 in Parquet with at least one of each"
        )
    return train, test


def row_counts(folder: Path) -> tuple[int, int]:
    """How many training and test images there are. Raises `InputError` for other columns."""
    return tuple(_rows(files) for files in parquet_files(folder))  # type: ignore[return-value]


def load_cifar(folder: Path, samples: int | None, eval_samples: int | None) -> Data:
    """Images scaled by the set's own mean and deviation. Only what is asked for is decoded."""
    train_files, test_files = parquet_files(folder)
    rows, _ = row_counts(folder)
    held_out = max(1, int(rows * VALIDATION_SHARE))
    return Data(
        train=_split("train", train_files, 0, rows - held_out, samples),
        val=_split("val", train_files, rows - held_out, held_out, eval_samples),
        test=_split("test", test_files, 0, None, eval_samples),
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
        except (OSError, pyarrow.ArrowInvalid) as error:
            raise InputError(
                f"{path} is no readable Parquet file ({str(error).splitlines()[0]}); give a folder "
                "of CIFAR-10 in Parquet"
            ) from error
        missing = {"img", "label"} - set(opened.schema_arrow.names)
        if missing:
            raise InputError(
                f"{path} has the columns {', '.join(opened.schema_arrow.names)}; valid: img "
                "(encoded images) and label"
            )
        total += opened.metadata.num_rows
    return total


def _split(
    name: str, files: Sequence[Path], start: int, size: int | None, number: int | None
) -> Split:
    import numpy as np
    import pyarrow
    import pyarrow.parquet as parquet
    import torch

    table = pyarrow.concat_tables(
        [parquet.read_table(path, columns=["img", "label"]) for path in files]
    ).slice(start, size)
    if number is not None:
        table = table.slice(0, number)
    images = [entry["bytes"] for entry in table.column("img").to_pylist()]
    labels = np.array(table.column("label").to_numpy(), dtype=np.int64)
    if len(labels) and not (labels.min() >= 0 and labels.max() < len(CLASSES)):
        raise InputError(
            f"{files[0].parent}: labels go from {labels.min()} to {labels.max()}; valid: 0 to 9"
        )
    pixels = np.stack([_pixels(image, files[0].parent) for image in images])
    scaled = (pixels - np.array(_MEAN, np.float32)) / np.array(_DEVIATION, np.float32)
    units = tuple(
        f"{'test' if name == 'test' else 'train'}-{start + row}" for row in range(len(labels))
    )
    return Split(
        name,
        torch.from_numpy(np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))),
        torch.from_numpy(labels),
        units,
        units,
    )


def _pixels(image: Any, folder: Path) -> NDArray[np.float32]:
    """Red, green and blue in [0, 1], `[height, width, 3]`."""
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(image)) as opened:
            pixels = np.asarray(opened.convert("RGB"), dtype=np.float32) / 255.0
    except (UnidentifiedImageError, OSError, TypeError) as error:
        raise InputError(
            f"{folder}: an image cannot be decoded ({error}); mend the file"
        ) from error
    if pixels.shape != (_SIDE, _SIDE, 3):
        raise InputError(
            f"{folder}: an image is {pixels.shape[1]} x {pixels.shape[0]}; valid: {_SIDE} x {_SIDE}"
        )
    return pixels
