"""What a training reads and keeps: texts in a seeded order, its history, copies of its core."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from workloads.errors import InputError
from workloads.models import load_tokenizer
from workloads.phase_coupling.config import KuramotoSettings, PhaseCouplingConfig
from workloads.phase_coupling.cores.kuramoto import KuramotoCore
from workloads.phase_coupling.metrics import STEP_COLUMNS
from workloads.phase_coupling.training.history import HISTORY, History, Step
from workloads.phase_coupling.training.keeping import CoreCopies, read_core, spread
from workloads.phase_coupling.training.texts import TrainingTexts, load_training_texts

KEYS = [
    "step", "loss", "ce_loss", "u_loss", "R", "U", "RU", "tone", "action", "perplexity",
]  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer("embedded:llama")


def config(**training: Any) -> PhaseCouplingConfig:
    return PhaseCouplingConfig.model_validate({"training": training})


# -- texts ----------------------------------------------------------------------------------------


def test_training_texts_have_one_length_and_none_is_there_twice(tokenizer: Any) -> None:
    texts = load_training_texts(config(steps=5, batch_size=4, tokens=24), tokenizer)
    assert texts.ids.shape == (20, 24)
    assert len({tuple(row) for row in texts.ids.tolist()}) == 20


def test_every_text_is_read_once_before_any_is_read_again() -> None:
    texts = TrainingTexts(np.arange(6, dtype=np.int64)[:, None])
    read = [int(row) for step in range(6) for row in texts.batch(0, step, 4)[:, 0]]
    for begin in range(0, 24, 6):
        assert sorted(read[begin : begin + 6]) == list(range(6))
    assert read[:6] != read[6:12]


def test_the_order_is_the_seeds_own_and_has_no_memory() -> None:
    texts = TrainingTexts(np.arange(50, dtype=np.int64)[:, None])
    late = texts.batch(3, 7, 2)
    texts.batch(4, 30, 2)
    assert torch.equal(texts.batch(3, 7, 2), late)
    assert not torch.equal(texts.batch(4, 7, 2), late)


def test_a_batch_is_the_same_however_it_is_cut() -> None:
    texts = TrainingTexts(np.arange(50, dtype=np.int64)[:, None])
    singly = torch.cat([texts.batch(1, step, 1) for step in range(8)])
    assert torch.equal(torch.cat([texts.batch(1, step, 4) for step in range(2)]), singly)


def test_texts_that_are_too_short_are_refused(tokenizer: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"training.tokens is 4000, .*; lower training.tokens"):
        load_training_texts(config(steps=2, tokens=4000), tokenizer)
    words = "one two three four five six seven eight nine ten "
    for number in range(20):
        (tmp_path / f"{number}.txt").write_text(f"text {number}: {words * 2}", encoding="utf-8")
    short = config(steps=2, tokens=4000).model_copy(update={"data": str(tmp_path)})
    with pytest.raises(InputError, match="training"):
        load_training_texts(short, tokenizer)


# -- the history ----------------------------------------------------------------------------------


def step(number: int, **fields: Any) -> Step:
    return Step(**{"step": number, "loss": 2.5, "ce": 2.0, "u": 0.4, "u_loss": 0.1, **fields})


def test_a_history_has_the_sources_ten_keys(tmp_path: Path) -> None:
    history = History([step(1, r=0.5, tone="spiral", action="BOOST"), step(2)])
    history.write(tmp_path / HISTORY)
    first, second = json.loads((tmp_path / HISTORY).read_text(encoding="utf-8"))
    assert list(first) == KEYS
    assert first["RU"] == pytest.approx(0.2)
    assert first["perplexity"] == pytest.approx(math.exp(2.0))
    assert (first["tone"], first["action"], first["u_loss"]) == ("spiral", "BOOST", 0.1)
    assert (second["R"], second["RU"], second["tone"]) == (None, None, None)


def test_a_history_survives_json() -> None:
    history = History([step(1, r=0.1 + 0.2, core_gradient=1e-7), step(2)])
    again = History.from_json(json.loads(json.dumps(history.to_json())))
    assert again == history


def test_scores_have_a_unit_per_step_and_are_empty_without_training() -> None:
    scores = History([step(1, r=0.5), step(2, r=0.25)]).scores()
    assert (list(scores.units), scores.split) == (["1", "2"], "steps")
    assert list(scores.columns) == list(STEP_COLUMNS)
    assert scores.columns["ru"] == [0.2, 0.1]
    assert scores.columns["frequency_drift"] == [None, None]
    assert [list(column) for column in History().scores().columns.values()] == [[]] * 8
    assert History().metrics() == {"frequency_drift": None, "core_gradient": None}


# -- copies of the core ---------------------------------------------------------------------------


def core(seed: int = 0, oscillators: int = 4) -> KuramotoCore:
    made = KuramotoCore(KuramotoSettings(oscillators=oscillators), 6)
    made.init(torch.Generator().manual_seed(seed))
    return made


def test_the_newest_five_copies_stay(tmp_path: Path) -> None:
    copies = CoreCopies(tmp_path / "cores")
    for number in range(50, 450, 50):
        copies.keep(number, core().to_state(), {"step": number})
    names = sorted(path.name for path in (tmp_path / "cores").iterdir())
    assert names == [f"step-{number:06d}" for number in range(200, 450, 50)]
    kept = json.loads((tmp_path / "cores" / names[0] / "metrics.json").read_text("utf-8"))
    assert kept == {"step": 200}


def test_a_copy_is_the_core_again(tmp_path: Path) -> None:
    drawn, other = core(0), core(1)
    drawn.coupling = 1.25
    place = CoreCopies(tmp_path).keep(50, drawn.to_state(), {})
    other.load_state(read_core(place))
    assert other.coupling == 1.25
    for name, value in drawn.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


def test_a_copy_of_another_core_is_refused(tmp_path: Path) -> None:
    place = CoreCopies(tmp_path).keep(50, core(oscillators=4).to_state(), {})
    with pytest.raises(ValueError, match=r"oscillators 4.*oscillators 5"):
        core(oscillators=5).load_state(read_core(place))


def test_a_file_that_is_no_copy_is_named(tmp_path: Path) -> None:
    (tmp_path / "core.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match=r"core\.safetensors' is damaged.*give a folder"):
        read_core(tmp_path)
    save_file({"W": torch.zeros(2)}, tmp_path / "core.safetensors")
    with pytest.raises(InputError, match="or no copy"):
        read_core(tmp_path)


def test_copies_go_on_in_another_folder(tmp_path: Path) -> None:
    first, second = CoreCopies(tmp_path / "one"), CoreCopies(tmp_path / "two")
    first.keep(10, core().to_state(), {"step": 10})
    second.keep(99, core().to_state(), {"step": 99})
    (tmp_path / "checkpoint").mkdir()
    first.save(tmp_path / "checkpoint")
    second.load(tmp_path / "checkpoint")
    assert [path.name for path in (tmp_path / "two").iterdir()] == ["step-000010"]


def test_phases_are_spread_on_a_circle() -> None:
    around = spread(torch.tensor([[math.pi - 0.1, 0.1 - math.pi]]), torch.tensor([1.0, 3.0]))
    assert abs(around["phase_mean"] or 0.0) == pytest.approx(math.pi)
    assert around["phase_std"] == pytest.approx(0.1, abs=1e-3)
    assert (around["omega_mean"], around["omega_std"]) == (2.0, 1.0)
    assert spread(torch.zeros(2, 4), None)["phase_std"] == 0.0
    nowhere = spread(torch.tensor([[0.0, math.pi]]), None)
    assert (nowhere["phase_mean"], nowhere["omega_mean"]) == (None, None)
