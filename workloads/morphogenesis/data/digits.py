"""scikit-learn's digits: 1,797 grey 8 x 8 images of handwritten digits, installed with it.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI.
"""

from __future__ import annotations

from typing import Final

from workloads.datasets.examples import hash_order
from workloads.morphogenesis.data.splits import Data, Split, check_enough

NAME: Final = "sklearn:digits"
FINGERPRINT: Final = "sklearn:digits-1"
"""The installed data never changed; the number is that of our split of it."""

TRAINING: Final = 997
VALIDATION: Final = 400
TEST: Final = 400
_BRIGHTEST: Final = 16.0


def load_digits(samples: int | None, eval_samples: int | None) -> Data:
    """Images scaled to [-1, 1], dealt to the splits by the hash of their place in the set."""
    import numpy as np
    import torch
    from sklearn.datasets import load_digits as installed

    found = installed()
    order = sorted(range(len(found.images)), key=lambda place: hash_order(f"digits/{place}"))

    def split(name: str, places: list[int], number: int | None) -> Split:
        check_enough(name, len(places), number)
        images = np.asarray(found.images[places], dtype=np.float32) / (_BRIGHTEST / 2) - 1.0
        units = tuple(f"digit-{place}" for place in places)
        return Split(
            name,
            torch.from_numpy(images).unsqueeze(1),
            torch.from_numpy(np.asarray(found.target[places], dtype=np.int64)),
            units,
            units,
        ).head(number)

    return Data(
        train=split("train", order[TEST + VALIDATION :], samples),
        val=split("val", order[TEST : TEST + VALIDATION], eval_samples),
        test=split("test", order[:TEST], eval_samples),
        classes=10,
        input_shape=(1, 8, 8),
        class_names=tuple(str(digit) for digit in range(10)),
    )
