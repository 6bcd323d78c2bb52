"""The ratio: bounded, explained, backing off, and never better for what is withheld."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.signals.login_context import model
from service.signals.login_context.features import COARSER, FINEST, Chain, Level
from service.signals.login_context.history import HALF_LIFE, History, PastLogin, digests
from service.signals.login_context.model import HIGHEST, LOWEST, score
from service.signals.login_context.population import EMPTY, ContextCounts
from service.signals.login_context.reasons import CODES

AT = 1_790_000_000
KEY = b"k" * 32
HOME = {
    Level.PREFIX: b"p1",
    Level.WIDE: b"w1",
    Level.ASN: b"a1",
    Level.COUNTRY: b"DE",
    Level.DEVICE: b"ios|safari|",
    Level.PLATFORM: b"ios|safari",
    Level.SYSTEM: b"ios",
    Level.LOCALE: b"de-de",
    Level.LANGUAGE: b"de",
}
WEIGHTS = {b"a1": 40.0, b"DE": 60.0, b"FR": 40.0, b"ios": 50.0, b"ios|safari": 45.0, b"de": 60.0}
CROWD = ContextCounts(
    {
        digests(KEY, b"all", {level: value})[level]: WEIGHTS.get(value, 1.0)
        for level, value in HOME.items()
    },
    (0.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0),
)
CHAINS = {chain: (FINEST[chain], *COARSER[chain]) for chain in Chain}


def login(values, *, at=AT, hour=40, known=False, version=9):
    """Return a login of values in the clear."""
    return PastLogin(
        at=at, hour=hour, known_device=known, digests=digests(KEY, b"s", values), version=version
    )


def changed(**named):
    """Return the usual values with some replaced, and those that are None left out."""
    values = HOME | {Level[name.upper()]: value and value.encode() for name, value in named.items()}
    return {level: value for level, value in values.items() if value is not None}


def past(count=20, *, known=True, values=HOME, history=None):
    """Return a history of like logins."""
    history = history or History()
    for number in range(count):
        history.learn(login(values, at=AT - 86_400 * (count - number), known=known and number > 0))
    return history


def rated(history, values, crowd=CROWD, **more):
    """Return the score of a login."""
    return score(history, login(values, **more), crowd, crowd.shares(digests(KEY, b"all", values)))


def part(found, start):
    """Return what the contributions whose code starts so add together."""
    return sum(item.nats for item in found.contributions if item.code.startswith(start))


def codes(found):
    """Return the codes of the contributions."""
    return {item.code for item in found.contributions}


def test_no_history_is_nothing_and_named():
    """The first login is neither good nor bad."""
    for history in (None, History()):
        found = rated(history, HOME)
        assert found.llr == 0.0
        assert codes(found) == {"no_history"}
        assert not found.enough


def test_what_is_usual_speaks_for_the_person():
    """The same network, device, hour and token: as good as it gets."""
    found = rated(past(), HOME, known=True)
    assert found.llr == HIGHEST
    assert found.enough
    assert {"device_known", "network_known", "agent_known", "language_known"} < codes(found)


def test_it_backs_off_from_exact_to_coarse():
    """A new prefix of a known network is worse than the known one, a new network than that."""
    steps = [
        {},
        {"prefix": "p2"},
        {"prefix": "p2", "asn": "a2", "wide": "w2"},
        {"prefix": "p2", "asn": "a2", "wide": "w2", "country": "FR"},
    ]
    found = [rated(past(), changed(**step)) for step in steps]
    parts = [part(item, "network") for item in found]
    assert parts == sorted(parts, reverse=True)
    assert parts[0] > 0 > parts[2]
    assert [next(code for code in codes(item) if code.startswith("network")) for item in found] == [
        "network_known",
        "network_new_in_known_asn",
        "network_new_in_known_country",
        "network_new",
    ]


def test_without_a_database_wide_prefixes_stand_for_networks():
    """A new /24 in a known /16 is better than one in an unknown /16."""
    bare = {"asn": None, "country": None}
    history = past(values=changed(**bare))
    near = rated(history, changed(**bare, prefix="p2"))
    far = rated(history, changed(**bare, prefix="p2", wide="w2"))
    assert part(near, "network") > part(far, "network")
    assert "network_new_in_known_wide" in codes(near)


def test_a_database_that_is_added_later_changes_nothing_at_once():
    """Levels that were not learned yet say nothing."""
    history = past(values=changed(asn=None, country=None))
    assert rated(history, HOME).total == pytest.approx(
        rated(history, changed(asn=None, country=None)).total
    )


def test_a_common_network_that_is_new_weighs_less_than_a_rare_one():
    """People move to the large providers, attackers come from anywhere."""
    history = past(values=changed(prefix="p9", asn="a9", wide="w9"))
    common, rare = rated(history, HOME), rated(history, changed(asn="a2", wide="w2"))
    assert part(common, "network") > part(rare, "network")


def test_the_token_is_the_biggest_lever():
    """It outweighs everything that is new, and no contribution leaves its bounds."""
    strange = changed(prefix="p2", asn="a2", wide="w2")
    with_token, without = (rated(past(), strange, known=known) for known in (True, False))
    assert part(with_token, "device") > 3.5
    assert part(without, "device") < -1
    assert with_token.total - without.total > 4


def test_a_person_who_never_holds_the_token_does_not_gain_by_lacking_it():
    """Lacking it then says nothing, and nothing good."""
    found = rated(past(known=False), HOME)
    assert -0.5 < part(found, "device_unknown") <= 0


def test_an_older_version_is_odd_and_a_newer_one_is_not():
    """Versions only grow."""
    older, newer = (rated(past(), HOME, version=version) for version in (8, 12))
    assert part(older, "version") < 0 < part(newer, "version")
    assert {"version_older"} <= codes(older)
    assert part(rated(past(), HOME, version=0), "version") == 0


def test_an_hour_around_the_clock_is_near():
    """23:00 on Sunday lies beside 0:00 on Monday; noon is far from both."""
    history = History()
    for number in range(20):
        history.learn(login(HOME, at=AT - 86_400 * (20 - number), hour=0))
    assert part(rated(history, HOME, hour=167), "hour") > part(
        rated(history, HOME, hour=12), "hour"
    )
    assert "hour_unusual" in codes(rated(history, HOME, hour=12))


def test_habits_fade():
    """After years without a login the past says less."""
    strange = changed(prefix="p2", asn="a2", wide="w2", country="FR")
    soon, late = (rated(past(), strange, at=AT + wait) for wait in (0, 20 * HALF_LIFE))
    assert part(soon, "network") < part(late, "network")
    assert not rated(past(), strange, at=AT + 20 * HALF_LIFE).enough


def test_what_was_told_before_and_is_not_now_counts_against():
    """Withheld is at most 0 and named; never told is 0 and named."""
    found = rated(past(), {})
    assert {"network_withheld", "agent_withheld", "language_withheld"} < codes(found)
    assert found.llr < -4
    never = rated(past(values={}), {})
    assert {"network_not_offered", "agent_not_offered", "language_not_offered"} < codes(never)
    assert part(never, "network") == part(never, "agent") == part(never, "language") == 0
    assert part(rated(past(values={}), HOME), "network_learning") == 0


_VALUE = st.sampled_from([b"p1", b"a1", b"DE", b"x", b"y", b"z"])
_LOGINS = st.lists(
    st.tuples(st.dictionaries(st.sampled_from(list(Level)), _VALUE), st.booleans()), max_size=12
)


def _whole(values):
    """Return values such that a chain is shown whole from its finest level, or not at all."""
    return {
        level: value
        for chain, levels in CHAINS.items()
        if FINEST[chain] in values
        for level in levels
        if (value := values.get(level)) is not None
    }


def _learned(rows):
    history = History()
    for number, (values, known) in enumerate(rows):
        history.learn(login(_whole(values), at=AT - 86_400 * (20 - number), known=known))
    return history


@given(
    _LOGINS,
    st.dictionaries(st.sampled_from(list(Level)), _VALUE),
    st.booleans(),
    st.integers(0, 12),
    st.integers(0, 167),
)
def test_every_contribution_keeps_its_bounds_and_they_sum_up(rows, values, known, version, hour):
    """Each lies in -6..+4, their sum is the total, and each has words for a person."""
    found = rated(_learned(rows), _whole(values), known=known, version=version, hour=hour)
    assert LOWEST <= found.llr <= HIGHEST
    assert all(LOWEST - 1e-9 <= item.nats <= HIGHEST + 1e-9 for item in found.contributions)
    assert sum(item.nats for item in found.contributions) == pytest.approx(found.total)
    assert codes(found) <= CODES


@given(
    _LOGINS,
    st.dictionaries(st.sampled_from(list(Level)), _VALUE),
    st.sampled_from(Chain),
    st.booleans(),
    st.integers(0, 12),
    st.booleans(),
)
def test_absent_never_scores_better_than_unknown(rows, values, chain, known, version, crowded):
    """Leaving out an address, an agent or a language never beats showing one never seen."""
    history, crowd = _learned(rows), CROWD if crowded else EMPTY
    unknown = _whole(values) | {FINEST[chain]: b"never seen"}
    absent = {level: value for level, value in unknown.items() if level not in CHAINS[chain]}
    shown, left = (
        rated(history, values, crowd, known=known, version=version) for values in (unknown, absent)
    )
    assert left.total <= shown.total + 1e-9


@given(_LOGINS, st.dictionaries(st.sampled_from(list(Level)), _VALUE))
def test_the_token_never_harms(rows, values):
    """Holding it scores at least as well as lacking it, whatever else is seen."""
    history = _learned(rows)
    held, lacked = (rated(history, _whole(values), known=known) for known in (True, False))
    assert part(held, "device_known") >= part(lacked, "device_unknown")


@given(st.floats(-60, 60), st.floats(-60, 60))
def test_the_bend_keeps_the_order(one, other):
    """What is worse stays worse, and all stay within bounds."""
    low, high = sorted((one, other))
    assert LOWEST <= model.soft_clip(low) <= model.soft_clip(high) <= HIGHEST
    assert math.isclose(model.soft_clip(model.BEND), model.BEND)
