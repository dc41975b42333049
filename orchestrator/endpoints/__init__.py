"""Endpoints: several figures of arms, each held against another arm's with a margin of its own.

Importing this loads no numpy; estimating does. Its parts are imported by name: the schema of a
study file needs `rule` alone, and the rest knows the study.
"""
