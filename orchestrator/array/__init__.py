"""Job arrays of SLURM: trials without Ray, and without traffic between nodes.

The driver (`orchestrator.array.driver.ArrayDriver`) writes tasks into the study's folder and
submits them; each task (`orchestrator.array.task.run_task`) runs its trials; what they write is all
that anybody needs to follow them.
"""
