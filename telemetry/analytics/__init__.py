"""Analytics of one trial while it trains, or afterwards from its files: what a dashboard shows.

>>> from telemetry.contracts import HostBaseline, HostSnapshot
>>> seen = TrainingAnalytics()
>>> seen.feed(HostBaseline(final_host_only_accuracy=62.3))
>>> seen.feed(HostSnapshot(epoch=47, val_accuracy=67.2, host_params=100, total_params=123))
>>> round(seen.accuracy_delta(), 1), round(seen.params_efficiency_ratio(), 3)
(4.9, 0.877)

What was not measured is None, never 0. Imports no library but the contracts'.
"""

from telemetry.analytics.health import Alert, HealthReport
from telemetry.analytics.policy import PolicyComparisonSummary
from telemetry.analytics.ranks import RankStanding
from telemetry.analytics.scaling import ParamsEstimate, ScalingCurve
from telemetry.analytics.training import (
    KEPT_SNAPSHOTS,
    SeedContributionSummary,
    TrainingAnalytics,
    analytics_of,
)
from telemetry.analytics.trajectory import Trajectory
from telemetry.anomalies import RunningAverage

__all__ = [
    "KEPT_SNAPSHOTS",
    "Alert",
    "HealthReport",
    "ParamsEstimate",
    "PolicyComparisonSummary",
    "RankStanding",
    "RunningAverage",
    "ScalingCurve",
    "SeedContributionSummary",
    "TrainingAnalytics",
    "Trajectory",
    "analytics_of",
]
