"""Policies: what decides, in front of each epoch, which seed is planted, removed or kept.

`masks` says what is allowed, `rewards` what an epoch was worth, `making` makes the policy that a
configuration names. Importing them loads no torch; the learned policy loads it when it is made.
"""
