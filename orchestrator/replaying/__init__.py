"""`orrery replay`: a trial is run again from its record, and every number is compared."""

from orchestrator.replaying.comparing import Comparison, Pair
from orchestrator.replaying.recorded import CannotReplay
from orchestrator.replaying.replay import Replay, replay_trial

__all__ = ["CannotReplay", "Comparison", "Pair", "Replay", "replay_trial"]
