"""Claims: what is said of a figure, held against its interval.

Importing this loads no numpy; estimating does.
"""

from orchestrator.claims.metrics import claim_metrics
from orchestrator.claims.result import ClaimResult, RunFigure, StudyClaims
from orchestrator.claims.study_claims import claims_of

__all__ = ["ClaimResult", "RunFigure", "StudyClaims", "claim_metrics", "claims_of"]
