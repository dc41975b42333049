"""Single-file demonstrations of the probes, without Ray or a study: `python -m` runs them."""
