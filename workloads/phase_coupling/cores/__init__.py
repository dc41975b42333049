"""Oscillators that a language model can be coupled to: two cores, their order, their control."""
