"""Coupled oscillators in language models: what they do, and what can be claimed of it."""
