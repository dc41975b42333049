"""Phases that are set to an order parameter and held there, and the source's tests of it."""
