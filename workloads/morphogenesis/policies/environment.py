"""An episode as a Gymnasium environment: a step is an epoch of the host's training."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import gymnasium
import numpy as np

from workloads.morphogenesis.policies.heads import Heads
from workloads.morphogenesis.policies.masks import allowed
from workloads.morphogenesis.policies.observation import LIMIT, observe
from workloads.morphogenesis.policies.rewards import reward
from workloads.morphogenesis.view import Decision, EpisodeView

if TYPE_CHECKING:
    from numpy.typing import NDArray

REWARD_SCALE = 0.1
"""The learner sees rewards times this: its critic starts near 0 and takes small steps. What is
reported is never scaled."""


class EpochDone(Protocol):
    """What an epoch reports; of it only this is needed here."""

    @property
    def applied(self) -> bool:
        """Whether the action took effect."""

    @property
    def rolled_back(self) -> bool:
        """Whether the governor had to undo the epoch."""


class EpisodeLike(Protocol):
    """A run of the host, epoch by epoch (`workloads.morphogenesis.episode.Episode`)."""

    def view(self) -> EpisodeView:
        """Where it stands, in front of the next decision."""

    def step(self, decision: Decision) -> EpochDone:
        """Applies the action and trains for an epoch."""

    @property
    def done(self) -> bool:
        """Whether the last epoch has ended."""


EpisodeFactory = Callable[[str], EpisodeLike]
"""Makes a fresh episode whose random streams all carry the given prefix."""


class GrowthEnvironment(gymnasium.Env):  # type: ignore[misc]  # gymnasium is not checked here
    """Each episode has random streams of its own, named by the learner's update and its number.

    `steps`: how many epochs will be asked for in all; after them no fresh episode is begun.

    Observations are ``[entries]`` float32 (`observation.observe`), actions the choices of `Heads`.
    Torch's global random numbers are the learner's: an episode's use of them is undone.

    Attributes:
        returns: the sum of rewards of each episode that has ended, unscaled.
    """

    def __init__(
        self, episodes: EpisodeFactory, update: int = 0, steps: float = float("inf")
    ) -> None:
        self._episodes, self._update, self._left = episodes, update, steps
        self._next = 0
        self._episode: EpisodeLike | None = None
        self._return = 0.0
        self.returns: list[float] = []
        self._view = self._fresh()
        self.heads = Heads.of(self._view)
        size = len(observe(self._view))
        self.observation_space = gymnasium.spaces.Box(-LIMIT, LIMIT, (size,), np.float32)
        self.action_space = gymnasium.spaces.MultiDiscrete(self.heads.sizes)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """The next episode. `seed`: that of this number; its random numbers come from its name."""
        super().reset(seed=seed)
        if seed is not None:
            self._next, self._episode = seed, None
        if self._episode is None and self._left > 0:
            self._view = self._fresh()
        return self._observation(), {}

    def step(
        self, action: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """One epoch under the action; its reward parts are in the information it gives."""
        if self._episode is None:
            raise RuntimeError(
                "the episode has ended; reset() begins the next one, if there is one"
            )
        before = self._view
        may = allowed(before)
        decision = Decision(self.heads.action([int(part) for part in action], may))
        with _numbers_kept():
            report = self._episode.step(decision)
            self._view = self._episode.view()
        self._left -= 1
        parts = reward(
            before,
            decision,
            self._view,
            success=report.applied,
            rolled_back=report.rolled_back,
        )
        earned = parts.total_reward or 0.0
        self._return += earned
        done = self._episode.done
        if done:
            self.returns.append(self._return)
            self._episode = None
        return self._observation(), earned * REWARD_SCALE, done, False, {"reward": parts}

    def action_masks(self) -> NDArray[np.bool_]:
        """``[choices]`` what the learner may choose, head after head."""
        return np.array(self.heads.mask(allowed(self._view)), dtype=np.bool_)

    def _fresh(self) -> EpisodeView:
        with _numbers_kept():
            self._episode = self._episodes(f"policy/{self._update}/{self._next}/")
            view = self._episode.view()
        self._next += 1
        self._return = 0.0
        return view

    def _observation(self) -> NDArray[np.float32]:
        return np.array(observe(self._view), dtype=np.float32)


def _numbers_kept() -> Any:
    """A block after which torch's global random numbers are where they were, on the CPU: there the
    learner is."""
    import torch

    return torch.random.fork_rng(devices=[])
