"""A SLURM without SLURM: its commands, and a controller in a thread that runs what they submit."""
