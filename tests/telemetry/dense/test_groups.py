"""How parameters and modules are named and how many are looked at."""

from __future__ import annotations

import pytest
from torch import nn

from telemetry.dense.groups import parameter_groups, watched_modules


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention, self.mlp = nn.Linear(3, 3), nn.Linear(3, 3)


class Language(nn.Module):
    """A model as they come: a body with a list of layers, a head, and a parameter of its own."""

    def __init__(self, layers: int = 3) -> None:
        super().__init__()
        self.body = nn.Module()
        self.body.embed = nn.Embedding(5, 3)
        self.body.layers = nn.ModuleList(Block() for _ in range(layers))


class WithHead(Language):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 5)
        self.scale = nn.Parameter(self.head.bias.detach().clone())


def test_a_group_is_a_module_of_the_level_on_which_the_model_branches() -> None:
    assert list(parameter_groups(WithHead())) == ["(own)", "body", "head"]
    assert list(parameter_groups(Language(2))) == ["body.embed", "body.layers.0", "body.layers.1"]
    layers = parameter_groups(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)))
    assert list(layers) == ["0", "2"]
    assert list(parameter_groups(nn.Linear(2, 2))) == ["(own)"]
    assert parameter_groups(nn.ReLU()) == {}


def test_every_trained_parameter_is_in_one_group_and_frozen_ones_in_none() -> None:
    model = WithHead()
    model.head.requires_grad_(False)
    groups = parameter_groups(model)
    assert "head" not in groups
    found = [id(parameter) for members in groups.values() for parameter in members]
    assert sorted(found) == sorted(id(p) for p in model.parameters() if p.requires_grad)


def test_groups_may_be_given_by_name() -> None:
    model = WithHead()
    chosen = {"slow": model.body.parameters(), "fast": [model.head.weight]}
    groups = parameter_groups(model, chosen)
    assert {name: len(members) for name, members in groups.items()} == {"slow": 13, "fast": 1}


@pytest.mark.parametrize(("layers", "last"), [(7, "body.layers.6"), (12, "(6 more)")])
def test_what_is_beyond_the_limit_is_one_group_that_says_so(layers: int, last: str) -> None:
    groups = parameter_groups(Language(layers), limit=8)
    assert len(groups) == 8
    assert list(groups)[-1] == last
    assert sum(len(members) for members in groups.values()) == 1 + 4 * layers


def test_outputs_are_watched_of_modules_without_submodules() -> None:
    assert list(watched_modules(Language(1))) == [
        "body.embed", "body.layers.0.attention", "body.layers.0.mlp",
    ]  # fmt: skip
    assert list(watched_modules(nn.ReLU())) == ["ReLU"]


def test_of_many_modules_some_are_watched_along_the_whole_model() -> None:
    model = nn.Sequential(*(nn.ReLU() for _ in range(100)))
    names = list(watched_modules(model, limit=8))
    assert names == ["11", "24", "36", "49", "61", "74", "86", "99"]
    assert list(watched_modules(model, {"chosen": model[3]})) == ["chosen"]
