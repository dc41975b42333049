"""What may explain that a replay parts from its record: code, packages, device, processor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from orchestrator.replaying.recorded import Recorded

SHOWN_PACKAGES = 8


def differences(then: Recorded, now: Recorded) -> list[str]:
    """One line each; empty if both ran from the same."""
    return list(_differences(then, now))


def _differences(then: Recorded, now: Recorded) -> Iterator[str]:
    before, after = then.context, now.context
    yield from _changed("source code", then.code_digest, now.code_digest)
    yield from _changed("commit", _commit(then), _commit(now))
    yield from _packages(then, now)
    yield from _changed("device", then.device, now.device)
    for name in ("cpu", "gpus"):
        yield from _changed(
            name, (before.hardware or {}).get(name), (after.hardware or {}).get(name)
        )
    for name in ("python", "threads", "ranks"):
        yield from _changed(name, before.facts.get(name), after.facts.get(name))
    variables = before.facts.get("variables")
    if isinstance(variables, Mapping):
        others = after.facts.get("variables") or {}
        names = (variables.keys() | others.keys()) - {"CUDA_VISIBLE_DEVICES"}  # see the device
        for name in sorted(names):
            yield from _changed(name, variables.get(name, "unset"), others.get(name, "unset"))
    yield from _changed("seeds", before.seeds, after.seeds)


def _changed(what: str, then: object, now: object) -> Iterator[str]:
    """What was not recorded is no difference."""
    if then is not None and now is not None and then != now:
        yield f"{what}: {then} then, {now} now"


def _commit(recorded: Recorded) -> str | None:
    commit = recorded.context.git_commit
    if commit is None:
        return None
    return f"{commit[:12]} with changes" if recorded.context.git_dirty else commit[:12]


def _packages(then: Recorded, now: Recorded) -> Iterator[str]:
    digests = [(one.context.environment or {}).get("digest") for one in (then, now)]
    if None in digests or digests[0] == digests[1]:
        return
    before, after = then.packages, now.packages
    if before is None or after is None:
        yield f"packages: environment {digests[0]} then, {digests[1]} now; which is not on file"
        return
    changed = [
        f"{name} {before.get(name, 'absent')} → {after.get(name, 'absent')}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
    more = f" and {len(changed) - SHOWN_PACKAGES} more" if len(changed) > SHOWN_PACKAGES else ""
    yield f"packages: {', '.join(changed[:SHOWN_PACKAGES])}{more}"
