"""Where a page finds each trial: its folder, its run, and the commands that look at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from orchestrator.counted import counted

COMMANDS = ("trace", "logs", "replay")


@dataclass(frozen=True)
class TrialPlace:
    """Of one trial. Addresses are relative to the page, or empty where there is nothing.

    Attributes:
        folder, artifacts: addresses. `path`: of the folder, for a page that was moved.
        run_id: in MLflow; empty before it has one.
        after: what follows the id in a command, such as `--home DIR`.
    """

    identity: str
    path: str
    folder: str = ""
    artifacts: str = ""
    run_id: str = ""
    after: str = ""


@dataclass(frozen=True)
class Places:
    """What a page that is opened where it was written can point to."""

    trials: tuple[TrialPlace, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    """Address by name, of what lies beside the report."""


def trials_html(places: Sequence[TrialPlace], rows: Sequence[Mapping[str, Any]]) -> str:
    """A line a trial that opens to its links and commands."""
    by_id = {row.get("id"): row for row in rows}
    items = "".join(f"<li>{_trial(one, by_id.get(one.identity, {}))}</li>" for one in places)
    return (
        '<p class="soft">Links lead to files beside this page: they work where it was written.</p>'
        f"<details><summary>Look at one of {counted(len(places), 'trial')}</summary>"
        f'<ul class="trials">{items}</ul></details>'
    )


def files_html(files: Sequence[tuple[str, str]]) -> str:
    """What lies beside the report, as links."""
    items = "".join(
        f'<li><a href="{escape(address)}">{escape(name)}</a></li>' for name, address in files
    )
    return f'<ul class="files">{items}</ul>'


def _trial(one: TrialPlace, row: Mapping[str, Any]) -> str:
    told = f"{row.get('arm', '')} seed {row.get('seed', '')}: {row.get('state', '')}"
    flags = f" ({row['flags']})" if row.get("flags") else ""
    commands = "\n".join(f"orrery {word} {one.identity}{one.after}" for word in COMMANDS)
    links = [f'<a href="{escape(at)}">{name}</a>' for name, at in
             (("folder", one.folder), ("artifacts", one.artifacts)) if at]  # fmt: skip
    facts = {
        "Trial": f"<code>{escape(one.identity)}</code>",
        "Files": ", ".join(links) or f"<code>{escape(one.path)}</code>",
        "MLflow run": f"<code>{escape(one.run_id)}</code>" if one.run_id else "n/a",
        "Failure": escape(str(row.get("failure") or "")),
    }
    listed = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts.items() if value)
    return (
        f"<details><summary>{escape(told + flags)}</summary><dl>{listed}</dl>"
        f'<pre tabindex="0"><code>{escape(commands)}</code></pre></details>'
    )
