"""What a host is trained and measured on: scikit-learn's digits, CIFAR-10 Parquet files, text."""

from workloads.morphogenesis.data.loading import (
    check_data,
    data_fingerprint,
    load_data,
    scored_examples,
)
from workloads.morphogenesis.data.splits import Data, Split

__all__ = ["Data", "Split", "check_data", "data_fingerprint", "load_data", "scored_examples"]
