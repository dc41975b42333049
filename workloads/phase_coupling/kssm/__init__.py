"""A small language model with an order parameter built in, and its equals without one."""
