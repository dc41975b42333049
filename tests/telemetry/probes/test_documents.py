"""What docs/probes.md shows runs, and says what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.telemetry.probes.tiny_models import causal_model, tokens

PAGE = Path(__file__).parents[3] / "docs" / "probes.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
STEPS = 12


def block(words: str) -> str:
    """The Python block with these words in it."""
    (found,) = (each for each in BLOCKS if words in each)
    return str(found)


def run(code: str, capsys: pytest.CaptureFixture[str], **given: Any) -> list[list[str]]:
    """The words of each line that the code printed."""
    exec(code, given)
    return [line.split() for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def training() -> dict[str, Any]:
    model = causal_model()
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=1e-3)}


@pytest.fixture
def batches() -> list[dict[str, torch.Tensor]]:
    mask = torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]])
    batches = []
    for step in range(STEPS):
        rows = tokens(2, 6, seed=step)
        labels = rows.masked_fill(mask == 0, -100)
        batches.append({"input_ids": rows, "attention_mask": mask, "labels": labels})
    return batches


def test_each_loop_is_a_dozen_lines_at_most() -> None:
    for code in BLOCKS:
        assert len([line for line in code.splitlines() if line.strip()]) <= 12


def test_the_plain_loop_runs(
    training: dict[str, Any],
    batches: list[dict[str, torch.Tensor]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = run(block("for step, batch in enumerate(batches)"), capsys, batches=batches, **training)
    assert [words[0] for words in lines] == [str(step) for step in range(STEPS)]
    assert {tuple(words[2:]) for words in lines[:9]} == {("None", "buffering")}
    for words in lines[9:]:
        assert 0.1 <= float(words[2]) <= 1
        assert words[3] in ("healthy", "collapse")


def test_the_trainer_runs(
    training: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import TrainingArguments

    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        max_steps=6,
        per_device_train_batch_size=2,
        logging_steps=3,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        save_strategy="no",
    )
    dataset = [{"input_ids": row, "labels": row} for row in tokens(12, 6)]
    lines = run(
        block("HealthCallback"),
        capsys,
        model=training["model"],
        arguments=arguments,
        dataset=dataset,
    )
    assert 0 < float(lines[-1][0]) < 5
    assert lines[-1][1] in ("healthy", "collapse")


def test_the_accelerate_loop_runs(
    training: dict[str, Any],
    batches: list[dict[str, torch.Tensor]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    from accelerate.state import AcceleratorState, GradientState

    rows = [{name: each[0] for name, each in batch.items()} for batch in batches]
    loader = torch.utils.data.DataLoader(rows, batch_size=1)  # type: ignore[arg-type]
    try:
        lines = run(block("import Accelerator"), capsys, loader=loader, **training)
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
    assert [words[1] for words in lines[:9]] == ["None"] * 9
    assert all(0.1 <= float(words[1]) <= 1 for words in lines[9:])


def test_a_layer_is_named_as_the_page_shows(training: dict[str, Any]) -> None:
    from telemetry.probes import MonitorSuite

    found = {"MonitorSuite": MonitorSuite, **training}
    exec(block("layer="), found)
    training["model"](tokens(1, 4))
    assert found["suite"].observe(0).step == 0


def test_the_window_changes_the_figures_as_the_page_says(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = run(block("normalised_ratio"), capsys)
    assert lines == [["0.981", "0.9923"], ["0.50", "0.375"]]
    assert "0.981 at W = 5, and of 0.9923 at W = 10" in PAGE.read_text(encoding="utf-8")


def test_probes_work_by_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    exec(block("MultiProbe"), {})
    first, second = capsys.readouterr().out.splitlines()
    assert "sv_ratio" not in first
    assert "'entropy': 2.07" in first
    assert "'sv_ratio': 0.57" in second
    assert "'rank': 2" in second
