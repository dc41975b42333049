"""Orrery's orchestrator: studies, trials, ledger, engines, verdicts, command line.

>>> from orchestrator import Study
>>> Study.load("lora-sweep", preset="smoke").run().table()      # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.errors import OrreryError, UsageError
    from orchestrator.planning import Plan, Selection
    from orchestrator.running import RunReport
    from orchestrator.study import Study

__all__ = ["OrreryError", "Plan", "RunReport", "Selection", "Study", "UsageError"]

_HOMES = {
    "OrreryError": "orchestrator.errors",
    "Plan": "orchestrator.planning",
    "RunReport": "orchestrator.running",
    "Selection": "orchestrator.planning",
    "Study": "orchestrator.study",
    "UsageError": "orchestrator.errors",
}


def __getattr__(name: str) -> Any:
    """Public names are loaded when they are first used: `orrery --help` needs none of them."""
    if name not in _HOMES:
        raise AttributeError(f"module 'orchestrator' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
