"""Races that were lost once: each is run as often, and as many at once, as the long form asks."""

import random
from collections import Counter

import pytest

from service.throttling.model import FREE
from tests.races.checks import state, violations
from tests.races.people import Person, named
from tests.races.table import requests


@pytest.fixture(scope="module")
def at_once(long):
    """How many at once: twenty of each kind, or fifty in the long form."""
    return 50 if long else 20


@pytest.fixture
def told(request):
    """Count what happens, and print it at the end: `make races` shows it."""
    counts = Counter(rounds=0, requests=0, violations=0)
    yield counts
    print(f"{request.node.name}:", ", ".join(f"{count} {name}" for name, count in counts.items()))  # noqa: T201 - `make races` shows it


def run(arena, told, person, batch):
    """Race; count the round and what it broke, and return the answers."""
    answers = arena.pair.race(batch)
    broken = violations(arena.world, person, answers)
    told["rounds"] += 1
    told["requests"] += len(batch)
    told["violations"] += len(broken)
    for sentence in broken:
        print(sentence)  # noqa: T201 - `make races` shows it
    return answers


def count(answers, status, name=None):
    """Return how many answers have a status."""
    return sum(item.status == status and name in {None, item.name} for item in answers)


def test_wrong_verification_codes(arena, rounds, at_once, told):
    """Of fifty wrong codes at once no more are checked than are free, and no right one after."""
    for _ in range(rounds):
        person = Person(arena.world, at_once)
        answers = run(arena, told, person, requests(person, "wrong code"))
        assert count(answers, 422) == FREE
        assert count(answers, 410) == at_once - FREE
    assert told["violations"] == 0


def test_consents_then_a_withdrawal_then_a_face(arena, rounds, at_once, told):
    """After consents given at once one withdrawal leaves none, and no face is enrolled on it."""
    for _ in range(rounds):
        person = Person(arena.world, at_once)
        run(arena, told, person, requests(person, "consent to face", "enroll face"))
        person.call("DELETE", "/consents/face")
        left = state(arena.world, person)
        assert not left["consents"]["face"]
        refused = arena.world.ask(person.request("POST", "/authenticators", {"type": "face"}))
        assert (refused.status, refused.code) == (403, "consent_required")
        person = Person(arena.world, at_once)
        run(
            arena,
            told,
            person,
            requests(person, "consent to face", "withdraw face", "confirm face", "enroll face"),
        )
    assert told["violations"] == 0


def test_identifiers_that_change(arena, rounds, at_once, told):
    """Whatever name wins, no other leads to the account; another cannot have it as well."""
    for _ in range(rounds):
        person = Person(arena.world, at_once)
        names = [f"{person.name}-{number}" for number in range(at_once)]
        batch = [
            named(person.request("PATCH", "", {"identifiers": {"username": name}}), name)
            for name in names
        ]
        answers = run(arena, told, person, batch)
        assert count(answers, 200) == at_once
        shown = person.call("GET")["identifiers"]["username"]
        led = [name for name in names if _found(arena, name)]
        assert led == [shown]
        person = Person(arena.world, at_once // 2)
        run(arena, told, person, requests(person, "rename", "rename back", "register", "profile"))
    assert told["violations"] == 0


def _found(arena, name):
    request = arena.world.request("POST", "/v1/subjects/lookup", {"identifier": name})
    return arena.world.ask(request).status == 200


def test_totps_that_are_confirmed(arena, rounds, at_once, told):
    """Each that is confirmed is active, none ends another, and each is confirmed once."""
    for number in range(2 * rounds):
        # One request for each of the two, and then many: more than five wait for being attempts.
        person = Person(arena.world, at_once if number % 2 else 2)
        answers = run(arena, told, person, requests(person, "confirm totp"))
        assert count(answers, 200) == state(arena.world, person)["active"]["totp"] >= 1
        listed = person.call("GET", "/authenticators")["items"]
        active = [one for one in listed if (one["type"], one["status"]) == ("totp", "active")]
        for left, one in reversed(list(enumerate(active))):
            person.call("DELETE", f"/authenticators/{one['id']}")
            assert state(arena.world, person)["active"]["totp"] == left
    assert told["violations"] == 0


def test_codes_sent_and_confirmed(arena, rounds, at_once, told):
    """Sending beside confirming is never a fault, and one code verifies once at most."""
    for _ in range(rounds):
        person = Person(arena.world, at_once // 2)
        batch = requests(person, "right code", "send code")
        run(arena, told, person, batch)
        person = Person(arena.world, at_once)
        run(arena, told, person, requests(person, "send code"))
    assert told["violations"] == 0


def test_right_passwords_beside_wrong_codes(arena, rounds, at_once, told):
    """Passwords that verify while codes are guessed clear no wait: five are checked, not more."""
    chance = random.Random(17)
    for _ in range(rounds):
        person = Person(arena.world, at_once)
        batch = requests(person, "right password", "wrong totp")
        later = requests(person, "wrong totp")
        chance.shuffle(batch)
        answers = run(arena, told, person, batch)
        checked = count(answers, 422, "wrong totp")
        # Whoever goes on at once gets no more than what was free from the beginning.
        checked += count(arena.pair.race(later), 422)
        assert checked <= FREE
        told["checked"] += checked
    assert told["violations"] == 0


def test_erasure_beside_sign_ins(arena, rounds, at_once, told):
    """Erasures beside logins, holds and changes: each is answered, and nothing is left."""
    for _ in range(rounds):
        person = Person(arena.world, max(2, at_once // 5))
        names = ("erase", "right password", "same recovery code", "refresh", "confirm totp")
        answers = run(arena, told, person, requests(person, *names))
        assert count(answers, 200, "erase") == 1
        assert state(arena.world, person)["status"] == "erased"
    assert told["violations"] == 0


def test_a_hold_and_an_erasure(arena, rounds, at_once, told):
    """One of them comes first, and the other is refused."""
    for _ in range(rounds):
        person = Person(arena.world, at_once)
        erase, hold = requests(person, "erase"), requests(person, "legal hold")
        # One hold among many erasures: else it would always be the first, as it has less to do.
        answers = run(arena, told, person, [*erase, hold[0]])
        assert (count(answers, 200, "erase") == 1) != (count(answers, 200, "legal hold") > 0)
        told["erased"] += count(answers, 200, "erase")
    assert told["violations"] == 0


def test_a_suspension_beside_sign_ins(arena, rounds, told):
    """A suspension beside a login that completes leaves no session in force."""
    for _ in range(rounds):
        person = Person(arena.world, 5)
        batch = requests(person, "same recovery code", "suspend", "lift", "end sessions")
        run(arena, told, person, batch)
    assert told["violations"] == 0
