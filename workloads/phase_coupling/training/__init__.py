"""Training a coupled model: losses, drift control, history, checkpoints."""
