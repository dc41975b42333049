"""Names for what a model is looked at by: groups of parameters, and modules with outputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

GROUP_LIMIT = 64
MODULE_LIMIT = 64


def parameter_groups(
    model: nn.Module,
    chosen: Mapping[str, Iterable[nn.Parameter]] | None = None,
    limit: int = GROUP_LIMIT,
) -> dict[str, list[nn.Parameter]]:
    """The trained parameters by group, in the model's order.

    Without `chosen` (such as an optimizer's groups by name), a group is a module of the uppermost
    level that has several; the entries of a list of layers are groups of their own, and parameters
    outside of all modules are "(own)". Groups beyond `limit` are one, named by how many they are:
    "(9 more)".
    """
    if chosen is not None:
        found = {name: list(parameters) for name, parameters in chosen.items()}
    else:
        found = _by_module(model)
    trained = {
        name: kept
        for name, parameters in found.items()
        if (kept := [parameter for parameter in parameters if parameter.requires_grad])
    }
    if len(trained) <= limit:
        return trained
    names = list(trained)
    few = {name: trained[name] for name in names[: limit - 1]}
    rest = [parameter for name in names[limit - 1 :] for parameter in trained[name]]
    return {**few, f"({len(names) - limit + 1} more)": rest}


def watched_modules(
    model: nn.Module,
    chosen: Mapping[str, nn.Module] | None = None,
    limit: int = MODULE_LIMIT,
) -> dict[str, nn.Module]:
    """The modules whose outputs are looked at: the chosen ones, else those without submodules.

    Dropout, pooling and the like are left out: they pass on what came before.
    Of more than `limit`, as many as that, evenly spaced along the model, the last one among them.
    """
    if chosen is not None:
        found = dict(chosen)
    else:
        found = {
            name or type(module).__name__: module
            for name, module in model.named_modules()
            if not any(True for _ in module.children()) and not _passes_on(module)
        }
    if len(found) <= limit:
        return found
    names = list(found)
    picked = (names[(place + 1) * len(names) // limit - 1] for place in range(limit))
    return {name: found[name] for name in picked}


def _passes_on(module: nn.Module) -> bool:
    from torch import nn

    pooling = (nn.modules.pooling._MaxPoolNd, nn.modules.pooling._AvgPoolNd)
    kinds = (nn.modules.dropout._DropoutNd, nn.Identity, nn.Flatten, nn.Unflatten, *pooling)
    return isinstance(module, kinds)


def _by_module(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Groups of every parameter, by the part of its name in which the model branches."""
    named = dict(model.named_parameters())
    paths = {name: name.split(".")[:-1] for name in named}
    shared = _shared_depth(list(paths.values()))
    groups: dict[str, list[nn.Parameter]] = {}
    for name, parameter in named.items():
        path = paths[name]
        depth = shared + 1
        while depth < len(path) and path[depth].isdigit():  # an entry of a list of layers
            depth += 1
        groups.setdefault(".".join(path[:depth]) or "(own)", []).append(parameter)
    return groups


def _shared_depth(paths: list[list[str]]) -> int:
    """How many leading modules all the parameters lie in."""
    depth = 0
    while paths and len({tuple(path[: depth + 1]) for path in paths}) == 1:
        if len(paths[0]) <= depth + 1:
            return depth
        depth += 1
    return depth
