"""`orrery report STUDY --csv scores`: what every trial scored, as one table for other programs.

`orrery verdict` reads it, and gives by the study's rule what `orrery report` gives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.judging import DEFAULT_SPLIT
from orchestrator.score_files import read_table

if TYPE_CHECKING:
    import pyarrow as pa

    from orchestrator.planning import Plan, PlannedTrial
    from orchestrator.study import Study


ROWS_AT_ONCE = 10_000
FIRST = ("arm", "seed", "split", "unit", "cluster")


def csv_lines(table: pa.Table) -> Iterator[str]:
    """The table as CSV, some lines at a time; what was not measured is empty."""
    import io

    from pyarrow import csv

    head = True
    for batch in table.to_batches(max_chunksize=ROWS_AT_ONCE):
        part = io.BytesIO()
        csv.write_csv(batch, part, csv.WriteOptions(include_header=head))
        head = False
        yield part.getvalue().decode()


def score_table(study: Study, plan: Plan) -> pa.Table:
    """A row for each unit that a trial scored; one with empty cells for a trial without scores.

    Columns: `arm seed split unit cluster`, every metric, then `role trial state flags failure
    deterministic code device dtype ranks` and `factor.NAME`. Where no trial scores units, a row a
    trial with its metrics. Raises `DamagedFileError` for scores that are.
    """
    import pyarrow as pa

    items = [item for item in plan.trials if item.trial.role != "proposal"]
    scored = {i: table for i, item in enumerate(items) if (table := _scores(study, item))}
    tables = []
    for i, item in enumerate(items):
        table = scored.get(i)
        if table is None:
            values = {} if scored else _values(item)
            table = pa.table(
                {name: pa.array([value], pa.float64()) for name, value in values.items()}
            )
            rows = 1
        else:
            rows = table.num_rows
        told = {name: [value] * rows for name, value in _facts(study, item).items()}
        factors = {f"factor.{k}": [v] * rows for k, v in item.trial.factors.items()}
        measured = {name: table[name] for name in table.column_names}
        tables.append(pa.table({**told, **measured, **factors}))
    whole = pa.concat_tables(tables, promote_options="permissive")
    first = [name for name in FIRST if name in whole.column_names]
    facts = [name for name in told if name not in FIRST]
    last = [*facts, *(name for name in whole.column_names if name.startswith("factor."))]
    rest = [name for name in whole.column_names if name not in {*first, *last}]
    return whole.select([*first, *rest, *last])


def _facts(study: Study, item: PlannedTrial) -> Mapping[str, Any]:
    """What is said of a whole trial."""
    outcome, failure = item.record.outcome, item.record.failure
    made = outcome.provenance if outcome else None
    failed = failure is not None and item.state == "failed"
    return {
        "arm": item.trial.arm,
        "role": item.trial.role,
        "seed": item.trial.seed,
        "trial": item.trial.identity,
        "state": "done" if outcome is not None and item.state == "running" else item.state,
        "flags": " ".join(outcome.flags) if outcome else "",
        "failure": failure.kind if failed and failure is not None else "",
        "deterministic": study.workload.deterministic(item.trial.config),
        "code": made.code_digest if made else "",
        "device": (made.device or "") if made else "",
        "dtype": getattr(item.trial.config, "precision", None) or "",
        "ranks": made.ranks if made else None,
    }


def _values(item: PlannedTrial) -> Mapping[str, float | None]:
    return item.record.outcome.values() if item.record.outcome is not None else {}


def _scores(study: Study, item: PlannedTrial) -> pa.Table | None:
    outcome = item.record.outcome
    if outcome is None or outcome.scores is None:
        return None
    path = study.home.trial(item.trial.identity) / outcome.scores
    return _asked(study, item, read_table(path, outcome.scores_digest))


def _asked(study: Study, item: PlannedTrial, table: pa.Table) -> pa.Table:
    """Of a trial that was observed more widely, what the study's verdict asks for."""
    rule, most = study.file.verdict, study.workload.scored_units(item.trial.config)
    if rule is None or most is None:
        return table
    report = rule.selection.report if rule.selection else DEFAULT_SPLIT
    seen: Counter[str] = Counter()
    kept = []
    for row, split in enumerate(table["split"].to_pylist()):
        seen[split] += 1
        if split != report or seen[split] <= most:
            kept.append(row)
    return table if len(kept) == table.num_rows else table.take(kept)
