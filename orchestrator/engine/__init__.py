"""Engines: what carries missing trials out. Training runs on Ray Tune."""
