"""The feed as Ray Tune sees it: a searcher that suggests tickets."""

from __future__ import annotations

import msgspec
from ray.tune.search import Searcher

from orchestrator.engine.feed import Feed
from orchestrator.engine.trainable import TICKET


class TuneFeed(Searcher):  # type: ignore[misc]
    """The feed in the shape Tune asks for."""

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self._feed = feed

    def __getstate__(self) -> dict[str, object]:
        """Tune pickles its searcher for a resumption of its own, which is never made."""
        return {}

    def suggest(self, trial_id: str) -> object:
        ticket = self._feed.take(trial_id)
        if ticket is not None:
            return {TICKET: msgspec.json.encode(ticket)}
        return Searcher.FINISHED if self._feed.finished() else None

    def on_trial_complete(self, trial_id: str, result: object = None, error: bool = False) -> None:
        """The callbacks tell the feed; Tune's own word comes without the cause."""
