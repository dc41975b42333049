"""What workloads that train share: random streams, a deterministic process, checkpoints.

Importing this package loads no torch; its modules do so where they are used.
"""

from workloads.training.guard import is_finite
from workloads.training.streams import generator, seeded, stream_seed

__all__ = ["generator", "is_finite", "seeded", "stream_seed"]
