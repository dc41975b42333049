"""The learned policy: it is trained by PPO first, then decides one episode, greedily."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from telemetry.contracts import FactoredAction
from workloads.morphogenesis.policies.base import TrialPolicy
from workloads.morphogenesis.policies.environment import REWARD_SCALE
from workloads.morphogenesis.policies.explain import explain_choice, influential
from workloads.morphogenesis.policies.heads import Heads
from workloads.morphogenesis.policies.learning import Learner
from workloads.morphogenesis.policies.masks import BLENDS, GERMINATE, OPS, allowed
from workloads.morphogenesis.policies.observation import entry_names, observe
from workloads.morphogenesis.view import Decision, EpisodeView


class Learned(TrialPolicy):
    """Takes the likeliest op, then the likeliest slot for it, then blueprint and blend.

    Not the likeliest pair of op and slot: where three slots are equally good, each pair is less
    likely than to wait, although to plant is likelier than to wait.
    """

    def __init__(self, learner: Learner) -> None:
        self._learner = learner

    def decide(self, view: EpisodeView) -> Decision:
        """The likeliest action, with its log probabilities by head, value and entropy."""
        may, heads = allowed(view), Heads.of(view)
        observation = observe(view)
        policy = self._learner.model.policy
        policy.set_training_mode(False)
        entered = torch.tensor([observation], dtype=torch.float32, requires_grad=True)
        distribution = policy.get_distribution(entered, [heads.mask(may)])
        logs = [head.logits[0] for head in distribution.distributions]
        joint = logs[0].exp().tolist()
        by_op = dict.fromkeys(OPS, 0.0)
        for target, chance in zip(heads.targets, joint, strict=True):
            by_op[target.op] += chance
        op = max(OPS, key=lambda name: by_op[name])
        own = [i for i, target in enumerate(heads.targets) if target.op == op]
        choice = (max(own, key=lambda i: joint[i]), int(logs[1].argmax()), int(logs[2].argmax()))
        action = heads.action(choice, may)
        gradient = torch.autograd.grad(logs[0][choice[0]], entered)[0][0].tolist()
        logs = [head.detach() for head in logs]
        odds = {str(t): p for t, p in zip(heads.targets, joint, strict=True)}
        return Decision(
            action,
            explain_choice(action, odds, influential(entry_names(view), observation, gradient)),
            log_probs=_log_probs(action, heads, logs, own, choice[0]),
            value=float(policy.predict_values(entered.detach()).detach()) / REWARD_SCALE,
            value_std=_scaled(self._learner.progress.value_std),
            entropy=float(distribution.entropy().detach()),
            masked=may.only_wait,
            observation=observation,
        )

    def metrics(self) -> Mapping[str, float | None]:
        """Mean return over the first and over the last update's training episodes, the gain."""
        return return_metrics(self._learner.progress.returns)

    @property
    def returns(self) -> tuple[tuple[float, ...], ...]:
        """The returns of each update's training episodes."""
        return self._learner.progress.returns

    def save(self, folder: Path) -> None:
        """Writes the trained policy."""
        self._learner.save(folder)

    def load(self, folder: Path) -> None:
        """Takes the policy that `save` wrote."""
        self._learner.load(folder)


def return_metrics(returns: Sequence[Sequence[float]]) -> dict[str, float | None]:
    """`return_first`, `return_last`: means over an update's episodes; `return_gain`: the change.

    None where there were not two updates. The first update's episodes were played before anything
    was learned.
    """
    if len(returns) < 2 or not returns[0] or not returns[-1]:
        return {"return_first": None, "return_last": None, "return_gain": None}
    first, last = fmean(returns[0]), fmean(returns[-1])
    return {"return_first": first, "return_last": last, "return_gain": last - first}


def _log_probs(
    action: FactoredAction, heads: Heads, logs: list[Any], own: list[int], target: int
) -> dict[str, float | None]:
    """Log probability of each part of the action: the slot's given the op, and so on."""
    op = float(torch.logsumexp(logs[0][own], 0))
    told: dict[str, float | None] = {"op": op}
    if action.slot is not None:
        told["slot"] = float(logs[0][target]) - op
    if action.op == GERMINATE and action.blueprint is not None and action.blend is not None:
        told["blueprint"] = float(logs[1][heads.blueprints.index(action.blueprint)])
        told["blend"] = float(logs[2][BLENDS.index(action.blend)])
    return told


def _scaled(value: float | None) -> float | None:
    return None if value is None else value / REWARD_SCALE
