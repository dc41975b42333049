"""Interrupts that come while a process is being started are kept for later."""

from __future__ import annotations

import os
import signal

import pytest

from orchestrator.interruption import interrupted_by_terminate, interruption_kept


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_is_raised_after_the_block_and_not_within(sent: signal.Signals) -> None:
    reached = []
    with interrupted_by_terminate():
        with interruption_kept() as interrupted:
            os.kill(os.getpid(), sent)
            reached.append("the end of the block")
        with pytest.raises(KeyboardInterrupt):
            interrupted()
        with pytest.raises(KeyboardInterrupt):  # as before the block
            os.kill(os.getpid(), signal.SIGTERM)
    assert reached == ["the end of the block"]


def test_without_an_interrupt_nothing_is_raised() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interruption_kept() as interrupted:
        pass
    interrupted()
    assert signal.getsignal(signal.SIGINT) is before
