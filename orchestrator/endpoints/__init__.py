"""Endpoints: several figures of arms, each held against another arm's with a margin of its own."""
