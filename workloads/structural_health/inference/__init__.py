"""The inference probe: entropy and consistency of what a model writes, chunk by chunk."""
