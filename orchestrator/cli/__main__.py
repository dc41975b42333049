"""`python -m orchestrator.cli`: the command, for a process that is started without a shell."""

from __future__ import annotations

from orchestrator.cli import main

if __name__ == "__main__":
    main()
