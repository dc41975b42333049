"""Structural health: what the hidden states of a model say of it while it trains or generates."""
