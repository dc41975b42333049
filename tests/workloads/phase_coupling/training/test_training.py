"""Training a coupled model: what is trained, what a gradient reaches, control, going on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.conftest import SHARED_DATA
from workloads.contract import Checkpoint, TrialContext, TrialStopped
from workloads.errors import InputError
from workloads.models import load_model, resolve_model
from workloads.models.byte_tokens import tokenizer_of
from workloads.phase_coupling.config import PhaseCouplingConfig
from workloads.phase_coupling.joining import draw_core, joined
from workloads.phase_coupling.metrics import METRICS
from workloads.phase_coupling.training.history import HISTORY
from workloads.phase_coupling.training.keeping import read_core
from workloads.phase_coupling.training.loop import Trained, _share, train
from workloads.recording import KeptCheckpoints, RecordingEmitter
from workloads.training.acceleration import accelerated
from workloads.training.process import deterministic_process

LLAMA = "embedded:llama"
REACHES = 1e-5
"""What rounding leaves of a gradient is below it."""
TERMS = {"entropy_weight": 0.1, "presence_weight": 0.05, "tonal_weight": 0.5, "end_weight": 10.0}
DRIFT: Mapping[str, Any] = {
    "state": "carried",
    "initial": "random",
    "training": {"steps": 9, "batch_size": 2, "tokens": 24, "checkpoint_steps": 4, "drift": {}},
}
"""All that can go on wrongly at once: phases that are carried, noise that is drawn, control."""


@dataclass(frozen=True)
class Run:
    """A finished training, and what it left."""

    trained: Trained
    core: dict[str, Tensor]
    model: dict[str, Tensor]
    coupling: float | None
    rows: list[tuple[int, dict[str, float | None]]]
    checkpoints: list[Checkpoint]
    artifacts: Path
    reported: list[int]

    def column(self, name: str) -> list[float | None]:
        return list(self.trained.history.scores().columns[name])


def run(
    folder: Path,
    fields: Mapping[str, Any],
    *,
    start: Checkpoint | None = None,
    leave_after: int | None = None,
    rank: int = 0,
    ranks: int = 1,
) -> Run:
    config = PhaseCouplingConfig.model_validate({"model": LLAMA, **fields})
    emitter, reported = RecordingEmitter(), list[int]()
    for name in ("checkpoints", "artifacts"):
        (folder / name).mkdir(parents=True)
    checkpoints = KeptCheckpoints(folder / "checkpoints", start, leave_after)
    context = TrialContext(
        identity="0" * 20,
        label="training",
        seed=3,
        attempt=0,
        artifacts=folder / "artifacts",
        emitter=emitter,
        checkpoints=checkpoints,
        report=lambda step, metrics: reported.append(step),
        rank=rank,
        ranks=ranks,
    )
    ref = resolve_model(config.model)
    with deterministic_process(1), accelerated(config.precision) as accelerator:
        model = load_model(ref)
        core = draw_core(config, model, context.seed)
        with joined(config, model, core) as coupling:
            try:
                trained = train(
                    model, core, coupling, config, context, accelerator, tokenizer_of(ref)
                )
            except TrialStopped:
                trained = Trained(None, False, None)  # type: ignore[arg-type]
        assert not model.training
        if config.training.steps:
            assert not any(parameter.requires_grad for parameter in model.parameters())
    return Run(
        trained,
        {} if core is None else {n: t.clone() for n, t in core.state_dict().items()},
        {name: value.clone() for name, value in model.state_dict().items()},
        None if core is None else core.coupling,
        emitter.rows,
        checkpoints.saved,
        folder / "artifacts",
        reported,
    )


def training(**settings: Any) -> dict[str, Any]:
    return {"training": {"steps": 6, "tokens": 24, "learning_rate": 0.01, **settings}}


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="module")
def ce(folder: Path) -> Run:
    """The cross-entropy alone."""
    return run(folder / "ce", training())


@pytest.fixture(scope="module")
def drawn(folder: Path) -> Run:
    """As it was drawn."""
    return run(folder / "drawn", {"training": {"steps": 0}})


# -- what is trained ------------------------------------------------------------------------------


def test_without_steps_nothing_happens(drawn: Run) -> None:
    assert drawn.trained.history.steps == []
    assert (drawn.rows, drawn.checkpoints, drawn.reported) == ([], [], [])
    assert not any(drawn.artifacts.iterdir())


def test_the_core_is_trained_and_the_model_is_frozen(ce: Run, drawn: Run) -> None:
    assert same(ce.model, drawn.model)
    for name, value in ce.core.items():
        assert not torch.equal(value, drawn.core[name]), name


def test_every_step_is_recorded(ce: Run) -> None:
    rows = [values for _, values in ce.rows if "train/loss" in values]
    assert [step for step, values in ce.rows if "train/loss" in values] == list(range(1, 7))
    assert set().union(*rows) <= set(METRICS)
    assert [row["train/ce"] for row in rows] == ce.column("ce")
    drift = ce.column("frequency_drift")
    assert drift[0] == pytest.approx(0.01, rel=0.01), "a first step of AdamW is the rate"
    assert all(value is not None and value > 0 for value in ce.column("frequency_gradient"))
    told = json.loads((ce.artifacts / HISTORY).read_text(encoding="utf-8"))
    assert [row["step"] for row in told] == list(range(1, 7))
    assert {row["action"] for row in told} <= {"BRAKE", "BOOST", "COAST"}


def test_the_sources_terms_train_nothing(folder: Path, ce: Run) -> None:
    theirs = run(folder / "origin", training(terms="origin", **TERMS))
    assert same(theirs.core, ce.core)
    assert theirs.column("ce") == ce.column("ce")
    for one, other in zip(theirs.column("loss"), ce.column("loss"), strict=True):
        assert one is not None
        assert other is not None
        assert one > other


def test_differentiable_terms_train(folder: Path, ce: Run) -> None:
    ours = run(folder / "differentiable", training(terms="differentiable", **TERMS))
    assert not same(ours.core, ce.core)
    assert same(ours.model, ce.model)


def test_the_whole_model_can_be_trained_with_oscillators_and_without(folder: Path, ce: Run) -> None:
    whole = run(folder / "all", training(trains="all"))
    assert not same(whole.model, ce.model)
    plain = run(folder / "off", {"mode": "off", **training(trains="all")})
    assert not same(plain.model, ce.model)
    assert plain.column("core_gradient") == plain.column("r") == [None] * 6
    assert not (plain.artifacts / "cores").exists()


def test_oscillators_that_only_observe_get_no_gradient(folder: Path, drawn: Run) -> None:
    observed = run(folder / "observe", {"mode": "observe", **training(trains="all")})
    assert observed.column("core_gradient") == [0.0] * 6
    assert same(observed.core, drawn.core)
    assert not same(observed.model, drawn.model)


def test_oscillators_that_act_in_training_only_are_trained_alike(folder: Path, ce: Run) -> None:
    alike = run(folder / "train-only", {"mode": "modulate_train_only", **training()})
    assert same(alike.core, ce.core)


# -- what a gradient reaches ----------------------------------------------------------------------


@pytest.mark.parametrize("model", ["embedded:mamba", "embedded:rwkv"])
def test_a_gradient_reaches_the_oscillators(folder: Path, model: str) -> None:
    """The source said that RWKV kept it from them. One gain before a norm is what does."""
    name, settings = model.partition(":")[2], training(steps=2, tokens=16)
    found = run(folder / name, {"model": model, **settings})
    assert all((value or 0) > REACHES for value in found.column("core_gradient"))
    assert all((value or 0) > 0 for value in found.column("frequency_gradient"))
    fields = {"model": model, "site": "before_norm", "gain": "scalar", **settings}
    lost = run(folder / f"{name}-scalar", fields)
    assert all((value or 0) < REACHES for value in lost.column("core_gradient"))


def test_a_real_rwkv_of_bytes_is_trained(folder: Path) -> None:
    model = SHARED_DATA / "tiny-rwkv4-hf"
    if not model.is_dir():
        pytest.skip(f"needs '{model}', a small real RWKV")
    found = run(folder / "bytes", {"model": str(model), **training(steps=2, tokens=24)})
    assert all((value or 0) > REACHES for value in found.column("core_gradient"))


# -- control --------------------------------------------------------------------------------------


def test_drift_control_weakens_the_coupling_of_what_is_too_synchronous(folder: Path) -> None:
    settings = {"steps": 5, "tokens": 24, "drift": {"low": 0.0, "high": 0.01}}
    braked = run(folder / "braked", {"training": settings})
    assert [step.action for step in braked.trained.history.steps] == ["BRAKE"] * 5
    assert braked.coupling == pytest.approx(2.0 * 0.95**5)
    r = braked.column("r")
    free = run(folder / "free", {"training": {"steps": 5, "tokens": 24}}).column("r")
    assert r[0] == free[0], "control acts after the step whose R it saw"
    assert all(value != other for value, other in zip(r[1:], free[1:], strict=True))


# -- going on -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(folder: Path) -> Run:
    return run(folder / "whole", DRIFT)


def test_copies_of_the_core_say_how_it_was(whole: Run) -> None:
    copies = sorted((whole.artifacts / "cores").iterdir())
    assert [copy.name for copy in copies] == ["step-000004", "step-000008"]
    kept = json.loads((copies[1] / "metrics.json").read_text(encoding="utf-8"))
    step = whole.trained.history.steps[7]
    assert {name: kept[name] for name in step.as_history()} == step.as_history()
    assert set(kept) - set(step.as_history()) == {
        "omega_mean",
        "omega_std",
        "phase_mean",
        "phase_std",
    }
    omega = read_core(copies[1])["tensors"]["omega"]
    assert kept["omega_mean"] == pytest.approx(float(omega.mean()))


def test_it_saves_and_reports_as_often_as_copies_are_kept_and_at_the_end(whole: Run) -> None:
    assert [one.step for one in whole.checkpoints] == whole.reported == [4, 8, 9]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_training_goes_on_bit_for_bit(folder: Path, whole: Run, number: int) -> None:
    start = whole.checkpoints[number]
    resumed = run(folder / f"resumed-{start.step}", DRIFT, start=start)
    _check_goes_on(resumed, whole, after=start.step)


def test_a_training_that_is_about_to_be_stopped_saves_and_goes_on(folder: Path, whole: Run) -> None:
    left = run(folder / "left", DRIFT, leave_after=5)
    assert [one.step for one in left.checkpoints] == [4, 6]
    told = json.loads((left.artifacts / HISTORY).read_text(encoding="utf-8"))
    assert [row["step"] for row in told] == [1, 2, 3, 4], "of the intervals that ended"
    resumed = run(folder / "after-leaving", DRIFT, start=left.checkpoints[-1])
    _check_goes_on(resumed, whole, after=6)


@pytest.mark.parametrize(
    ("file", "tensor", "shape", "message"),
    [
        ("trained", "core.omega", [8], r"core.omega is \[8\], valid: \[16\]"),
        ("trained", "core.omega", [1], r"core.omega is \[1\], valid: \[16\]"),
        ("trained", "core.psi", [3], r"core.psi is \[3\], valid: no such tensor"),
        ("optimizer", "0/exp_avg", [1], r"0/exp_avg is \[1\], valid: "),
        ("state", "phases", [1, 8], r"phases is \[1, 8\], valid: \[2, 16\]"),
        ("state", "core.omega", [8], r"core.omega is \[8\], valid: \[16\]"),
    ],
)
def test_a_checkpoint_of_another_size_is_named_and_nothing_is_stretched_to_fit(
    whole: Run,
    tmp_path: Path,
    file: str,
    tensor: str,
    shape: list[int],
    message: str,
) -> None:
    start = whole.checkpoints[0]
    path = Path(shutil.copytree(start.path, tmp_path / "other")) / f"{file}.safetensors"
    save_file({**load_file(path), tensor: torch.zeros(shape)}, path)
    with pytest.raises(InputError, match=message) as error:
        run(tmp_path / "resumed", DRIFT, start=Checkpoint(path.parent, start.step))
    assert str(path) in str(error.value)
    assert "remove the folder" in str(error.value)


def test_a_checkpoint_of_another_kind_of_core_or_that_is_damaged_is_named(
    whole: Run, tmp_path: Path
) -> None:
    start = whole.checkpoints[0]
    other = Path(shutil.copytree(start.path, tmp_path / "other"))
    told = json.loads((other / "training.json").read_text(encoding="utf-8"))
    told["core"]["structure"]["kind"] = "phase_block"
    (other / "training.json").write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(InputError, match=r"training\.json': the checkpoint is of another core"):
        run(tmp_path / "one", DRIFT, start=Checkpoint(other, start.step))
    (other / "trained.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match=r"trained\.safetensors' cannot be read"):
        run(tmp_path / "two", DRIFT, start=Checkpoint(other, start.step))


def test_nothing_that_is_frozen_is_saved(whole: Run) -> None:
    sizes = [file.stat().st_size for file in whole.checkpoints[-1].path.rglob("*.safetensors")]
    model = sum(value.numel() * value.element_size() for value in whole.model.values())
    assert sum(sizes) < model / 5


def _check_goes_on(resumed: Run, whole: Run, after: int) -> None:
    assert resumed.trained.history == whole.trained.history
    assert same(resumed.core, whole.core)
    assert resumed.coupling == whole.coupling
    assert resumed.trained.phases is not None
    assert whole.trained.phases is not None
    assert torch.equal(resumed.trained.phases, whole.trained.phases)
    assert resumed.rows == [row for row in whole.rows if row[0] > after]
    kept = [
        {path.name: (path / "metrics.json").read_bytes() for path in one.iterdir()}
        for one in (resumed.artifacts / "cores", whole.artifacts / "cores")
    ]
    assert kept[0] == kept[1]


# -- ranks ----------------------------------------------------------------------------------------


def test_a_batch_that_ranks_cannot_share_is_refused() -> None:
    config = PhaseCouplingConfig.model_validate(training(batch_size=3))
    assert _share(config, 1) == 3
    assert _share(config, 3) == 1
    with pytest.raises(InputError, match="batch_size=3 cannot be shared by 2 ranks"):
        _share(config, 2)
    pooled = {"core": {"kind": "kuramoto", "pool": "sequence"}, **training(batch_size=2)}
    with pytest.raises(InputError, match=r"core\.pool=sequence"):
        _share(PhaseCouplingConfig.model_validate(pooled), 2)


# -- what goes wrong ------------------------------------------------------------------------------


def test_a_training_that_loses_its_numbers_ends_and_says_so(folder: Path) -> None:
    lost = run(folder / "lost", training(trains="all", learning_rate=1e30))
    assert lost.trained.diverged
    assert 0 < len(lost.trained.history.steps) < 6
    assert (lost.artifacts / HISTORY).is_file()


def test_an_end_term_of_a_model_without_an_end_token_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workloads.phase_coupling.training import loop

    config = PhaseCouplingConfig.model_validate(training(end_weight=1.0))
    model = load_model(LLAMA)
    assert loop._end_token(model, config) == model.config.eos_token_id
    monkeypatch.setattr(model.config, "eos_token_id", None)
    with pytest.raises(InputError, match="names no end token"):
        loop._end_token(model, config)
