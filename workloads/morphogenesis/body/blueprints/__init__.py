"""What can grow in a slot: modules that give an activation of the same shape as theirs."""

from workloads.morphogenesis.body.blueprints.make import make_seed
from workloads.morphogenesis.body.sizes import blueprints_for, parameter_count

__all__ = ["blueprints_for", "make_seed", "parameter_count"]
