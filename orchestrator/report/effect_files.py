"""Files of effects: figures, the matrix of every question, and their pictures."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.effects.effect import EffectTable, StudyEffects
from orchestrator.report.effects import (
    coalition_rows,
    effect_rows,
    factor_columns,
)

MOST_NAME = 80
"""Characters of an arm's name in the name of a file."""


@dataclass(frozen=True)
class Written:
    """What was written of findings; `pictures` are file names by what they show."""

    files: tuple[Path, ...]
    pictures: Mapping[str, str]


def write_effects(effects: StudyEffects, folder: Path) -> Written:
    """Writes effects.csv and effects.json; for each question its matrix as CSV and Parquet, a heat
    map and a graph of interactions. Nothing for a study without effects.
    """
    from orchestrator.report.effect_pictures import plot_interactions, plot_matrix

    tables = effects.tables()
    if not tables:
        return Written((), {})
    data = json.dumps(effects.to_json(), indent=1, allow_nan=False, ensure_ascii=False)
    files = [write_csv(folder / "effects.csv", effect_rows(effects)), folder / "effects.json"]
    files[-1].write_text(data + "\n", encoding="utf-8")
    pictures: dict[str, str] = {}
    for table in tables:
        name = slug(table)
        files += write_matrix(table, folder, f"matrix-{name}")
        heat = plot_matrix(table, folder / f"matrix-{name}.png")
        graph = plot_interactions(table, folder / f"interactions-{name}.png")
        for what, path in ((f"every combination, {name}", heat), (f"interactions, {name}", graph)):
            if path is not None:
                files.append(path)
                pictures[what] = path.name
    return Written(tuple(files), pictures)


def write_matrix(table: EffectTable, folder: Path, name: str) -> list[Path]:
    """The coalitions of one table as CSV and Parquet; what was not measured is empty, or null."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = coalition_rows(table)
    if not rows:
        return []
    made = [write_csv(folder / f"{name}.csv", rows), folder / f"{name}.parquet"]
    flags = set(factor_columns(table).values())
    fields = [
        pa.field(key, pa.string() if key == "on" else pa.bool_() if key in flags else pa.float64())
        for key in rows[0]
    ]
    about = {"question": table.question, "about": table.about, "metric": table.metric}
    schema = pa.schema(fields, metadata=about)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), made[-1], compression="zstd")
    return made


def write_model(table: EffectTable, folder: Path) -> None:
    """The effects of one model as removal-effects.csv, its matrix as CSV and Parquet, and a heat
    map: what is kept with its run."""
    from orchestrator.report.effect_pictures import plot_matrix

    write_csv(folder / "removal-effects.csv", effect_rows(StudyEffects(removal=(table,))))
    write_matrix(table, folder, "removal-matrix")
    plot_matrix(table, folder / "removal-matrix.png")


def slug(table: EffectTable) -> str:
    """`causal-effect`, or `removal-cost-` and the arm whose models were switched."""
    question = table.question.replace(" ", "-")
    return f"{question}-{in_file_name(table.arm)}" if table.arm else question


def in_file_name(name: str) -> str:
    """The name of an arm or a question with what a file name cannot hold replaced, and a digest if
    it was changed."""
    clean = re.sub(r"[^\w.+=,-]", "_", name)[:MOST_NAME]
    return clean if clean == name else f"{clean}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Rows with the columns of the first; None is empty. Gives the path."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8")
    return path
