"""The signal on a database: sealed, bounded, learned only when told, forgotten with its class."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from crypto.keyring import KEY_CLASSES
from service.domain.ids import DECOY
from service.keys.actions import KeyStore
from service.risk.model import ClientContext, SignalFacts
from service.signals.login_context import store
from service.signals.login_context.actions import LoginContextSignal
from service.signals.login_context.features import Level
from service.signals.login_context.history import LARGEST, unpack
from service.store.engine import Store
from tests import mmdb

HOME = ClientContext(
    ip="192.0.2.7",
    user_agent="Mozilla/5.0 (Windows NT 10.0) Chrome/140.0 Safari/537.36",
    device_id="",
    accept_language="de-DE",
    asserted=True,
)
AWAY = ClientContext(
    ip="203.0.113.9", user_agent="curl/8.0", device_id="", accept_language="xx", asserted=True
)


@pytest.fixture
def signal(container):
    """The signal without a database of places."""
    return LoginContextSignal(container.key_store.purpose_key)


@pytest.fixture
def facts(container):
    """What is known of a login of a registered person at home."""
    account = container.register(username="alice")
    return SignalFacts(
        subject=account.id,
        flow="flow",
        client=UUID(int=2),
        segment="default",
        now=container.clock.now(),
        client_context=HOME,
        samples={},
        shown=("password",),
        known_device=False,
    )


def assess(container, signal, facts):
    """Return the assessment of a login."""
    with container.store.transaction() as tx:
        return signal.assess(tx, facts)


def learn(container, signal, facts, count=1):
    """Let logins be learned, a day apart; return the facts of the next one."""
    for _ in range(count):
        with container.store.transaction() as tx:
            signal.learn(tx, facts)
        facts = replace(facts, now=facts.now + timedelta(days=1), known_device=True)
    return facts


def codes(found):
    """Return the codes of the reasons."""
    return {reason.code for reason in found.reasons}


def test_a_history_is_learned_and_what_is_strange_counts_against(container, signal, facts):
    """First nothing, then the usual speaks for and the strange against the person."""
    first = assess(container, signal, facts)
    assert (first.llr, codes(first), first.enough_history) == (0.0, {"no_history"}, False)
    later = learn(container, signal, facts, 5)
    usual = assess(container, signal, later)
    assert usual.llr > 2
    assert usual.enough_history
    strange = assess(container, signal, replace(later, client_context=AWAY, known_device=False))
    assert strange.llr < -4
    assert {"network_new", "agent_new", "device_unknown"} <= codes(strange)
    assert all(reason.detail for reason in strange.reasons)
    assert len(strange.reasons) == len(codes(strange))


def test_a_client_that_may_not_assert_context_tells_nothing(container, signal, facts):
    """Its words count as absent: usual ones do not help, and are not learned."""
    unsaid = replace(facts, client_context=replace(HOME, asserted=False))
    learn(container, signal, unsaid, 3)
    assert "network_not_offered" in codes(assess(container, signal, unsaid))
    later = learn(container, signal, facts, 5)
    believed = assess(container, signal, later)
    doubted = assess(
        container, signal, replace(later, client_context=replace(HOME, asserted=False))
    )
    unknown = assess(container, signal, replace(later, client_context=AWAY))
    assert "network_withheld" in codes(doubted)
    assert doubted.llr <= unknown.llr < believed.llr


def test_an_unreadable_address_is_absent_and_named(container, signal, facts):
    """A forwarded header that went wrong never raises and never helps."""
    later = learn(container, signal, facts, 5)
    for ip in ("unknown", "1.2.3.4, 5.6.7.8", "\x00", "fe80::1%"):
        found = assess(container, signal, replace(later, client_context=replace(HOME, ip=ip)))
        assert {"address_unreadable", "network_withheld"} <= codes(found)
        assert found.llr < assess(container, signal, later).llr


def test_nothing_readable_is_stored(container, signal, facts):
    """Rows hold sealed bytes and keyed digests; no address, agent or language."""
    later = learn(container, signal, facts, 2)
    with container.store.transaction() as tx:
        signal.failed(tx, later)
    with container.store.transaction(read=True) as tx:
        for name in ("history", "seen", "failure"):
            for row in tx.execute(text(f"SELECT * FROM login_context_{name}")):  # noqa: S608 - a fixed name
                told = b" ".join(
                    str(cell).encode() if not isinstance(cell, bytes) else cell for cell in row
                )
                for word in (b"192.0.2", b"\xc0\x00\x02", b"windows", b"chrome", b"de-de"):
                    assert word not in told


def test_a_history_is_bounded_in_bytes(container, signal, facts):
    """However a person roams, the row stays small."""
    for number in range(60):
        roaming = replace(HOME, ip=f"198.{number}.{number}.1", user_agent=f"App{number}/1")
        with container.store.transaction() as tx:
            signal.learn(tx, replace(facts, client_context=roaming))
    with container.store.transaction() as tx:
        _, packed = store.history(tx, facts.subject)
    assert len(packed) < LARGEST


def test_it_is_forgotten_and_begins_anew(container, signal, facts):
    """Forgetting drops history and failures; the next login starts from nothing."""
    later = learn(container, signal, facts, 3)
    with container.store.transaction() as tx:
        signal.failed(tx, later)
    with container.store.transaction() as tx:
        assert signal.delete_for(tx, facts.subject) == 1
        assert signal.delete_for(tx, facts.subject) == 0
        assert tx.execute(text("SELECT count(*) FROM login_context_failure")).scalar() == 0
    assert codes(assess(container, signal, later)) == {"no_history"}
    learn(container, signal, later)


def test_a_changed_row_counts_as_the_worst_until_a_strong_login(container, signal, facts):
    """What does not open is no reason to trust; after AAL2 the history begins anew."""
    later = learn(container, signal, facts, 3)
    with container.store.transaction() as tx:
        row = tx.get(store.HistoryRow, store.row_of(tx, facts.subject))
        broken = bytearray(row.sealed_content)
        broken[-1] ^= 1
        row.sealed_content = bytes(broken)
    found = assess(container, signal, later)
    assert (found.llr, codes(found)) == (signal.worst, {"history_unreadable"})
    later = learn(container, signal, later)
    assert assess(container, signal, later).llr > 0


def test_a_process_without_the_class_sees_the_worst_and_learns_nothing(
    container, signal, facts, roots
):
    """It can neither read nor write histories, and no login fails of it."""
    later = learn(container, signal, facts, 3)
    key_store = KeyStore(
        {name: roots for name in KEY_CLASSES if name != "behavior"}, container.clock
    )
    other = Store(container.store.engine, key_store)
    with other.transaction() as tx:
        key_store.load(tx)
    elsewhere = LoginContextSignal(key_store.purpose_key)
    with other.transaction() as tx:
        found = elsewhere.assess(tx, later)
        elsewhere.learn(tx, later)
    assert (found.llr, codes(found)) == (signal.worst, {"history_unreadable"})
    assert assess(container, signal, later).llr > 0


def test_two_first_logins_at_once_make_one_history(container, signal, facts, monkeypatch):
    """Who comes second adds to what the first one made."""
    learn(container, signal, facts)
    found, missed = store.history, []

    def late(tx, subject):
        if not missed:
            missed.append(subject)
            return None
        return found(tx, subject)

    monkeypatch.setattr(store, "history", late)
    learn(container, signal, facts)
    with container.store.transaction() as tx:
        assert unpack(found(tx, facts.subject)[1]).logins == 2


def test_histories_that_weigh_nothing_are_dropped(container, signal, facts):
    """After 400 days without a login nothing is kept."""
    learn(container, signal, facts)
    with container.store.transaction() as tx:
        assert signal.drop_older(tx, facts.now + timedelta(days=399)) == 0
        assert signal.drop_older(tx, facts.now + timedelta(days=400)) == 1


def test_failures_count_for_an_hour_and_by_who_made_them(container, signal, facts):
    """Strangers' failures raise what strangers are asked, not what a known device is."""
    later = learn(container, signal, facts, 5)
    stranger = replace(later, known_device=False)
    before = assess(container, signal, stranger).llr
    for _ in range(4):
        with container.store.transaction() as tx:
            signal.failed(tx, replace(stranger, client_context=AWAY))
    found = assess(container, signal, stranger)
    assert "failures_of_subject" in codes(found)
    assert found.llr < before - 1
    assert "failures_of_subject" not in codes(assess(container, signal, later))
    hour = replace(stranger, now=stranger.now + timedelta(minutes=61))
    assert "failures_of_subject" not in codes(assess(container, signal, hour))


def test_a_sprayed_network_is_noticed_whoever_was_tried(container, signal, facts):
    """Failures on the decoy count for the network as those of anybody do."""
    learn(container, signal, facts, 3)
    for _ in range(30):
        with container.store.transaction() as tx:
            signal.failed(tx, replace(facts, subject=DECOY))
    found = assess(container, signal, facts)
    assert "failures_of_network" in codes(found)
    assert "failures_of_subject" not in codes(found)


def test_everybody_is_counted_by_the_worker_alone(container, signal, facts):
    """Logins only leave rows; the task folds them in, once a day for each subject."""
    for _ in range(3):
        with container.store.transaction() as tx:
            signal.learn(tx, facts)
    with container.store.transaction() as tx:
        assert tx.execute(text("SELECT count(*) FROM login_context_seen")).scalar() == 1
        assert signal.fold(tx, facts.now) == 1
        assert signal.fold(tx, facts.now) == 0
        rows = store.population(tx)
    # Wide prefix, device, platform, system, locale, language.
    assert len(rows) == 6
    learn(container, signal, replace(facts, now=facts.now + timedelta(days=1)))
    with container.store.transaction() as tx:
        assert signal.fold(tx, facts.now + timedelta(days=1)) == 1
        assert max(weight for _, weight in store.population(tx)) > 1.9 * rows[0][1]
        # What nobody was seen with for long is dropped.
        assert store.prune(tx, 10.0 * rows[0][1]) == 6


def test_the_rarest_values_go_when_there_are_too_many(container, monkeypatch):
    """The counts are bounded, whatever attackers or a busy year bring."""
    monkeypatch.setattr(store, "MOST_VALUES", 3)
    with container.store.transaction() as tx:
        store.fold(tx, {bytes([Level.ASN, number]) + bytes(7): number + 1.0 for number in range(6)})
        assert store.prune(tx, 0.0) == 3
        assert sorted(weight for _, weight in store.population(tx)) == [4.0, 5.0, 6.0]


def test_a_surge_of_failures_is_seen_by_those_without_a_device(container, signal, facts):
    """Many failures everywhere, after a quiet day, count against strangers."""
    learn(container, signal, facts, 3)
    now = facts.now
    with container.store.transaction() as tx:
        quiet = [(now - timedelta(minutes=5 * number), 1) for number in range(2, 40)]
        store.set_tallies(tx, quiet)
        for number in range(120):
            other = replace(facts, subject=UUID(int=number + 99), client_context=ClientContext())
            signal.failed(tx, other)
        signal.fold(tx, now)
    later = replace(facts, now=now + timedelta(minutes=1))
    assert "failures_everywhere" in codes(assess(container, signal, later))
    with container.store.transaction() as tx:
        signal.fold(tx, now + timedelta(days=2))
        assert signal.drop_failures(tx, now + timedelta(days=2)) == 120
        assert tx.execute(text("SELECT count(*) FROM login_context_failure")).scalar() == 0
        # Only the two windows of that moment are left.
        assert len(store.tallies(tx)) == 2


def test_lists_and_travel_are_hard_findings(container, facts, tmp_path):
    """A listed network, and a login on another continent within the hour."""
    listed = tmp_path / "bad.txt"
    listed.write_text("198.51.100.0/24\n", "utf-8")
    places = mmdb.write(
        tmp_path / "geo.mmdb",
        {
            "192.0.2.0/24": {
                "country": {"iso_code": "DE"},
                "autonomous_system_number": 1,
                "location": {"latitude": 52.5, "longitude": 13.4},
            },
            "203.0.113.0/24": {
                "country": {"iso_code": "JP"},
                "autonomous_system_number": 2,
                "location": {"latitude": 35.7, "longitude": 139.7},
            },
        },
    )
    signal = LoginContextSignal(container.key_store.purpose_key, (places,), listed)
    learn(container, signal, facts, 3)
    soon = replace(facts, now=facts.now + timedelta(days=2, minutes=30))
    travel = assess(
        container, signal, replace(soon, client_context=replace(HOME, ip="203.0.113.9"))
    )
    assert travel.hard
    assert "impossible_travel" in codes(travel)
    late = replace(soon, now=soon.now + timedelta(days=1))
    flown = assess(container, signal, replace(late, client_context=replace(HOME, ip="203.0.113.9")))
    assert not flown.hard
    bad = assess(container, signal, replace(late, client_context=replace(HOME, ip="198.51.100.9")))
    assert bad.hard
    assert "listed_network" in codes(bad)
    assert not assess(container, signal, late).hard
