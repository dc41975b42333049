"""Interrupts that come while something is being started are neither lost nor come too early."""

from __future__ import annotations

import os
import signal

import pytest

from orchestrator.interruption import (
    interrupted_by_terminate,
    interruption_kept,
    interruption_noticed,
    interrupts,
)


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


class Finalised:
    """Is interrupted where Python drops what is raised."""

    def __init__(self, sent: signal.Signals) -> None:
        self.sent = sent

    def __del__(self) -> None:
        os.kill(os.getpid(), self.sent)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_that_python_drops_is_raised_at_the_end_of_the_block(
    sent: signal.Signals,
) -> None:
    reached: list[str] = []
    before = signal.getsignal(sent)
    with pytest.raises(KeyboardInterrupt), interruption_noticed():  # noqa: PT012 - at its end
        assert interrupts(sent)
        Finalised(sent)
        reached.append("the end of the block")
    assert reached == ["the end of the block"]
    assert signal.getsignal(sent) is before


def test_an_interrupt_is_raised_at_once_where_python_can() -> None:
    reached: list[str] = []
    with pytest.raises(KeyboardInterrupt), interruption_noticed():  # noqa: PT012 - within it
        os.kill(os.getpid(), signal.SIGINT)
        reached.append("what comes after")
    assert reached == []
