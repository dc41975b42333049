"""What a configuration is resolved to, refused for and known by, without training anything."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from workloads.errors import InputError
from workloads.morphogenesis.config import MorphogenesisConfig
from workloads.morphogenesis.workload import Morphogenesis

THREE = {
    "early": {"blueprint": "conv_light"},
    "mid": {"blueprint": "attention"},
    "late": {"blueprint": "norm"},
}


def resolved(**fields: Any) -> MorphogenesisConfig:
    return Morphogenesis().resolve(MorphogenesisConfig.model_validate(fields))


def test_an_absent_slot_is_no_slot() -> None:
    off = resolved(policy="schedule", slots={**THREE, "mid": None})
    without = resolved(policy="schedule", slots={n: s for n, s in THREE.items() if n != "mid"})
    assert off == without
    assert list(off.slots) == ["early", "late"]


def test_the_order_of_the_slots_is_that_of_the_network() -> None:
    turned = dict(reversed(THREE.items()))
    assert list(resolved(policy="schedule", slots=turned).slots) == list(THREE)


def test_a_policy_without_slots_is_the_host_alone() -> None:
    alone = resolved(policy="none")
    assert resolved(policy="schedule", gates="observe") == alone
    assert resolved(policy="heuristic", blend_epochs=3) == alone
    assert resolved(policy="none", slots=THREE) == alone


def test_resolving_twice_changes_nothing() -> None:
    for policy in ("none", "schedule", "static", "learned"):
        once = resolved(policy=policy, slots=THREE)
        assert Morphogenesis().resolve(once) == once


def test_the_settings_of_a_learned_policy_are_filled_in() -> None:
    assert resolved(policy="learned", slots=THREE).learned is not None
    assert resolved(policy="heuristic", slots=THREE).learned is None


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"slots": {"middle": {}}}, "did you mean mid"),
        ({"slots": {"mid": {"blueprint": "mlp"}}}, "cannot grow in a cnn host"),
        ({"policy": "schedule", "slots": {"mid": {}}}, "names no blueprint"),
        (
            {"policy": "schedule", "slots": {"mid": {"blueprint": "norm", "germinate_at": 25}}},
            "the last epoch is 24",
        ),
        ({"policy": "schedule", "slots": {"mid": {"germinate_at": 25}}}, "the last epoch is 24"),
        ({"params_ratio": 1.25, "slots": THREE}, "give policy=none"),
        ({"host": "gpt", "data": "embedded:stories", "heads": 5}, "does not divide"),
        ({"data": "nowhere"}, "sklearn:digits"),
        ({"slots": THREE, "matrix_slots": ["erly"]}, "matrix_slots.*did you mean early"),
    ],
)
def test_what_cannot_grow_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Morphogenesis().check(resolved(**fields))


@pytest.mark.parametrize(
    "fields",
    [{"channels": 10**8}, {"epochs": 10**12}, {"batch_size": 10**5}, {"width": 10**6}],
    ids=str,
)
def test_what_no_machine_can_train_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="less than or equal"):
        MorphogenesisConfig.model_validate(fields)


def test_a_fuller_matrix_covers_a_smaller_one() -> None:
    workload = Morphogenesis()
    modes = ("off", "ablation", "auto", "full")
    for place, mode in enumerate(modes):
        for other in modes[: place + 1]:
            assert workload.covers({"counterfactual": mode}, {"counterfactual": other})
        for other in modes[place + 1 :]:
            assert not workload.covers({"counterfactual": mode}, {"counterfactual": other})


@pytest.mark.parametrize(
    ("seen", "asked", "enough"),
    [
        ({"matrix_examples": None}, {"matrix_examples": 20}, True),
        ({"matrix_examples": 20}, {"matrix_examples": None}, False),
        ({"matrix_examples": 20}, {"matrix_examples": 10}, True),
        ({"matrix_slots": None}, {"matrix_slots": ["mid"]}, True),
        ({"matrix_slots": ["mid"]}, {"matrix_slots": None}, False),
        ({"matrix_slots": ["mid", "late"]}, {"matrix_slots": ["mid"]}, True),
        ({"matrix_examples": 20}, {"counterfactual": "off", "matrix_examples": None}, True),
        ({"checkpoint_steps": 500}, {"checkpoint_steps": 1000}, True),
    ],
)
def test_a_matrix_of_everything_covers_one_of_a_part(
    seen: dict[str, Any], asked: dict[str, Any], enough: bool
) -> None:
    seen = {"counterfactual": "auto", **seen}
    assert Morphogenesis().covers(seen, {"counterfactual": "auto", **asked}) is enough


def test_switches_are_the_named_slots() -> None:
    workload = Morphogenesis()
    assert workload.switches(resolved(policy="static", slots=THREE)) == tuple(THREE)
    assert workload.switches(resolved(policy="none")) == ()


def test_planning_loads_no_torch() -> None:
    told = (
        "import sys\n"
        "from workloads.morphogenesis.workload import Morphogenesis as M\n"
        "w = M()\n"
        "c = w.resolve(M.Config(slots={'mid': {}}))\n"
        "w.check(c), w.fingerprint('data', c.data, c), w.switches(c), w.measured_on(c)\n"
        "w.factors(c), w.scored_units(c)\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", told], check=False).returncode == 0
