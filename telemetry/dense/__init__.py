"""Dense traces: what sets them off, what they hold, and the recorder a training loop calls.

Importing this package does not import torch.
"""

from telemetry.dense.capture import Captured, DenseCapture
from telemetry.dense.recorder import DenseRecorder, Mode
from telemetry.dense.trigger import DenseTraceTrigger, TriggerWatch

__all__ = ["Captured", "DenseCapture", "DenseRecorder", "DenseTraceTrigger", "Mode", "TriggerWatch"]
