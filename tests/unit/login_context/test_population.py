"""Counts among everybody: folded in, fading by growing, never a share of 0."""

from datetime import UTC, datetime, timedelta

import pytest

from service.signals.login_context import population
from service.signals.login_context.features import Level
from service.signals.login_context.population import EMPTY

NOW = datetime(2026, 11, 24, 12, 1, tzinfo=UTC)


def test_a_login_of_before_weighs_half_after_ninety_days():
    """Later logins weigh more, so that earlier ones need not be touched."""
    assert population.weight(NOW + timedelta(days=90)) == pytest.approx(2 * population.weight(NOW))
    name = population.joined({Level.COUNTRY: b"12345678"})
    rows = population.folded([name], population.weight(NOW - timedelta(days=90)))
    assert population.snapshot(rows.items(), NOW).counts == {b"12345678": pytest.approx(0.5)}


def test_logins_are_folded_value_by_value():
    """Narrow prefixes are left out; totals are by level."""
    login = {Level.PREFIX: b"p" * 8, Level.ASN: b"a" * 8, Level.COUNTRY: b"c" * 8}
    rows = population.folded(
        [population.joined(login), population.joined({Level.ASN: b"b" * 8})], 1.0
    )
    found = population.snapshot(rows.items(), datetime(2026, 1, 1, tzinfo=UTC))
    assert found.counts == {b"a" * 8: 1.0, b"b" * 8: 1.0, b"c" * 8: 1.0}
    assert (found.totals[Level.ASN], found.totals[Level.COUNTRY], found.totals[0]) == (2, 1, 0)


def test_every_share_is_between_nothing_and_one():
    """What nobody was seen with has a share too, and it is the smallest."""
    login = {level: bytes([level]) * 8 for level in Level}
    rows = population.folded([population.joined(login)] * 50, 1.0)
    found = population.snapshot(rows.items(), datetime(2026, 1, 1, tzinfo=UTC))
    for shares in (found.shares(login), found.shares({}), found.rarest(), EMPTY.shares(login)):
        assert all(0 < share < 1 for share in shares)
    common, rare = found.shares(login), found.rarest()
    assert all(one >= other for one, other in zip(common, rare, strict=True))


def test_a_surge_needs_something_to_compare_with():
    """A burst after a quiet day stands out; without a day, or with steady failures, none does."""
    edge = population.window_of(NOW)
    quiet = [(edge - number * population.WINDOW, 2) for number in range(2, 100)]
    burst = [*quiet, (edge - population.WINDOW, 100), (edge, 80)]
    assert population.surge(burst, NOW) == pytest.approx(20.0)
    assert population.surge([*quiet, (edge - population.WINDOW, 2), (edge, 2)], NOW) < 1
    assert population.surge(burst[-5:], NOW) == 0.0
    assert population.surge([], NOW) == 0.0
