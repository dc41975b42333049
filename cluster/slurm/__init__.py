"""SLURM: jobs through submitit, and what its queue says of them."""
