"""Signals are asked one by one, and a fault is never good news."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from service.risk.fusion import Availability
from service.risk.model import (
    Assessment,
    Band,
    ClientContext,
    Reason,
    SignalFacts,
)
from service.risk.signal import SignalFault, assess_all

TX = object()
FACTS = SignalFacts(
    subject=UUID(int=1),
    flow="flow",
    client=UUID(int=2),
    segment="default",
    now=datetime(2026, 11, 24, tzinfo=UTC),
    client_context=ClientContext(ip="192.0.2.1"),
    samples={},
    shown=("password",),
    known_device=True,
)


class Fake:
    """A signal that answers or fails as it is told."""

    def __init__(self, name, answer):
        self.name = name
        self.worst = -4.0
        self.answer = answer
        self.asked = []

    def assess(self, tx, facts):
        self.asked.append((tx, facts))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    "fault",
    [
        ZeroDivisionError(),
        OverflowError(),
        KeyError("the-context"),
        IndexError(),
        ValueError("the-context"),
        TypeError(),
        OSError("the-context"),
        TimeoutError(),
        ConnectionError(),
        RuntimeError(),
        RecursionError(),
    ],
)
def test_a_failing_signal_counts_as_its_worst(fault):
    """A fault or a time-out is the signal's worst, named by type and never by what it said."""
    (found,) = assess_all((Fake("device", fault),), TX, FACTS)
    assert (found.signal, found.llr) == ("device", -4.0)
    assert not found.enough_history
    (reason,) = found.reasons
    assert (reason.code, reason.signal, reason.contribution) == ("signal_fault", "device", -4.0)
    assert type(fault).__name__ in reason.detail
    assert "the-context" not in reason.detail


def test_every_signal_is_asked_once_in_order():
    """The answers come in the order of the signals, and a failing one stops no other."""
    good = Assessment(
        signal="good", llr=1.5, reasons=(Reason("c", "good", 1.5, "d"),), enough_history=True
    )
    signals = (Fake("bad", ValueError()), Fake("good", good), Fake("worse", OSError()))
    found = assess_all(signals, TX, FACTS)
    assert [item.signal for item in found] == ["bad", "good", "worse"]
    assert found[1] is good
    assert [signal.asked for signal in signals] == [[(TX, FACTS)]] * 3


def test_no_signal_gives_no_assessment():
    """Without signals nothing is assessed."""
    assert assess_all((), TX, FACTS) == ()


def test_an_assessment_is_neither_hard_nor_informed_unless_it_says_so():
    """A hard finding and enough history are claimed and never assumed."""
    found = Assessment(signal="device", llr=0.5)
    assert (found.hard, found.enough_history, found.reasons) == (False, False, ())


def test_bands_are_ordered_and_named():
    """Risk has four steps in ascending order, named in lower case."""
    assert [band.label for band in sorted(Band)] == ["low", "elevated", "high", "critical"]
    assert Band.HIGH < Band.CRITICAL


@pytest.mark.parametrize(
    ("said", "llr", "code"),
    [
        (Assessment(signal="s", llr=-9.0), -4.0, "scored"),
        (Assessment(signal="s", llr=float("nan")), -4.0, "scored"),
        (Assessment(signal="s", llr=3.0, seen=Availability.WITHHELD), 0.0, "withheld"),
        (Assessment(signal="s", llr=-1.0, seen=Availability.NOT_OFFERED), 0.0, "not_offered"),
        (Assessment(signal="s", llr=2.0, seen=Availability.NO_HISTORY), 0.0, "no_history"),
        (Assessment(signal="s", llr=2.0, seen=Availability.FAULT), -4.0, "fault"),
    ],
)
def test_what_counts_is_bounded_and_named(said, llr, code):
    """Whatever a signal says, what counts follows from what it had to go by."""
    (found,) = assess_all((Fake("s", said),), TX, FACTS)
    assert found.llr == llr
    assert (found.reasons[-1].code, found.reasons[-1].contribution) == (code, llr)


def test_whoever_asks_may_name_the_fault():
    """A fault that was named by its border is told by that name."""

    def ask(signal, tx, facts):
        raise SignalFault("a time-out")

    (found,) = assess_all((Fake("s", Assessment(signal="s", llr=1.0)),), TX, FACTS, ask)
    assert (found.llr, found.seen) == (-4.0, Availability.FAULT)
    assert "a time-out" in found.reasons[0].detail
