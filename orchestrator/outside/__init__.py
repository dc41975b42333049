"""Results from anywhere, judged by a rule that is given beside them: no home, no ledger, no run.

Importing this loads no pyarrow and no numpy; reading does.
"""

from orchestrator.outside.judging import OutsideVerdict, judge_file
from orchestrator.outside.rule_file import OutsideRule, read_rule

__all__ = ["OutsideRule", "OutsideVerdict", "judge_file", "read_rule"]
