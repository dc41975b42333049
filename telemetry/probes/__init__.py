"""Probes of hidden states, and monitors that watch them: they observe, and change nothing.

Importing this package does not import torch.
"""
