"""Encoded models in pickled files: read as data, without running anything that a file asks for."""

from workloads.dtdr.pickles.importing import check_shape, import_pickle
from workloads.dtdr.pickles.reading import PickledTensor, read_pickle

__all__ = ["PickledTensor", "check_shape", "import_pickle", "read_pickle"]
