"""What a coupled model does: on fixed text, in samples, layer by layer."""
