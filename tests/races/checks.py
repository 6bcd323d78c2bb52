"""What must hold of a subject after any number of requests, in whatever order they were done."""

from collections import Counter
from uuid import UUID

from service.domain.bounds import USUAL
from service.throttling.model import FREE
from tests.races.table import ACTS

NEVER = frozenset({500, 502, 503})
_NOTHING_OF_THE_ERASED = {
    "dek": "owner_id = :id",
    "subject_index": "subject_id = :id",
    "verification_code": "subject_id = :id",
    "known_device": "subject_id = :id",
    "behavior_profile": "subject_id = :id",
    "login_context_history": "subject_id = :id",
    "face_template_secret": "subject_id = :id",
    "subject_export": "subject_id = :id",
    "subject_risk": "subject_id = :id",
    "policy_decision": "subject_id = :id",
    "outbox": "subject_id = :id",
    "recovery_code": "subject_id = :id",
    "authenticator": "subject_id = :id AND status <> 'revoked'",
    "session": "subject_id = :id AND revoked_at IS NULL",
}


def state(world, person):
    """Return what a subject is left with, as far as an order of requests can decide it."""
    values = {"id": UUID(person.id)}

    def of(query):
        return world.rows(query, **values)

    active = "SELECT type FROM authenticator WHERE subject_id = :id AND status = 'active'"
    consents = "SELECT purpose FROM consent WHERE subject_id = :id AND withdrawn_at IS NULL"
    sessions = "SELECT id FROM session WHERE subject_id = :id AND revoked_at IS NULL"
    holds = "SELECT subject_id FROM legal_hold WHERE subject_id = :id"
    return {
        "status": of("SELECT status FROM subject WHERE id = :id")[0][0],
        "active": Counter(row[0] for row in of(active)),
        "consents": Counter(row[0] for row in of(consents)),
        "sessions": len(of(sessions)),
        "suspended": bool(of("SELECT id FROM suspension WHERE subject_id = :id")),
        "held": bool(of(holds)),
    }


def mark(found):
    """Return a state without the numbers that differ between orders which lead to the same."""
    kept = found | {"sessions": found["sessions"] > 0}
    return tuple(
        (name, tuple(sorted(value)) if isinstance(value, Counter) else value)
        for name, value in kept.items()
    )


def violations(world, person, answers):
    """Return every rule that a round broke, as sentences."""
    found = state(world, person)
    return [
        *_answered(answers),
        *_twice(found),
        *_used_once(answers),
        *_guessed(answers),
        *_found_by(world, person, found),
        *_kept(world, person, found),
    ]


def _answered(answers):
    bad = Counter((item.name, item.status, item.code) for item in answers if item.status in NEVER)
    return [f"{name}: {status} {code} x{count}" for (name, status, code), count in bad.items()]


def _twice(found):
    for name in ("active", "consents"):
        for kind, count in found[name].items():
            if count > (USUAL.max_totps if kind == "totp" else 1):
                yield f"{count} of {kind} are {name}"


def _done(answers):
    return Counter(
        item.name for item in answers if 200 <= item.status < 300 and not _took_nothing(item.body)
    )


def _took_nothing(body):
    """Tell whether an import was answered without taking anything, as without a consent."""
    return isinstance(body, dict) and body.get("accepted") == 0


def _used_once(answers):
    for name, count in _done(answers).items():
        most = ACTS[name].most if name in ACTS else None
        if most is not None and count > most:
            yield f"{name} succeeded {count} times"


def _guessed(answers):
    """Wrong guesses that were checked stay within the free ones; a completed flow frees others."""
    done = _done(answers)
    completed = sum(
        isinstance(item.body, dict) and item.body.get("status") == "completed" for item in answers
    )
    checked = Counter(
        item.name
        for item in answers
        if item.name in ACTS and ACTS[item.name].guesses and item.code == "verification_failed"
    )
    for name, count in checked.items():
        turns = done["send code"] if ACTS[name].guesses == "verification" else completed
        if count > FREE * (1 + turns):
            yield f"{count} guesses of {name} were checked"


def _found_by(world, person, found):
    """Each name leads to one subject at most, which shows it; an erased one is led to by none."""
    names = [person.name, f"{person.name}-other", person.email, f"{person.name}@example.org"]
    if found["status"] != "erased":
        shown = world.call("GET", person.path)["identifiers"].values()
        led = [name for name in names if _leads(world, name) == person.id]
        if set(led) != set(shown) & set(names):
            yield f"led to by {led}, and shows {sorted(shown)}"
    digests = "SELECT count(*) FROM subject_index WHERE subject_id = :id GROUP BY field"
    for (count,) in world.rows(digests, id=UUID(person.id)):
        if count > 1:
            yield f"{count} digests of one identifier"


def _leads(world, name):
    answer = world.ask(world.request("POST", "/v1/subjects/lookup", {"identifier": name}))
    return answer.body["id"] if answer.status == 200 else None


def _kept(world, person, found):
    """Nothing is kept without its reason: consent, standing, or that there is a subject at all."""
    if found["held"] and found["status"] == "erased":
        yield "erased under a legal hold"
    if found["suspended"] and found["sessions"]:
        yield f"suspended with {found['sessions']} sessions in force"
    values = {"id": UUID(person.id)}
    if found["status"] == "erased":
        for table, which in _NOTHING_OF_THE_ERASED.items():
            (count,) = world.rows(f"SELECT count(*) FROM {table} WHERE {which}", **values)[0]  # noqa: S608 - names from above
            if count:
                yield f"erased, and owns {count} of {table}"
        return
    if found["active"]["face"] and not found["consents"]["face"]:
        yield "a face without consent"
    profiles = "SELECT count(*) FROM behavior_profile WHERE subject_id = :id"
    if world.rows(profiles, **values)[0][0] and not found["consents"]["behavior"]:
        yield "a profile without consent"
