"""Identifiers over HTTP: what people type, what a code proves, and what no client can tell."""

import pytest

from tests.functional.conftest import PASSWORD

LOOKUP = "/v1/subjects/lookup"


def register(service, bearer=None, **identifiers):
    """Register somebody with a password."""
    body = {"identifiers": identifiers, "password": PASSWORD}
    return service.call("POST", "/v1/subjects", body, bearer=bearer)


def lookup(service, typed, bearer=None):
    """Look somebody up; return the id, or the status of the refusal."""
    found = service.call("POST", LOOKUP, {"identifier": typed}, bearer=bearer)
    return found.json["id"] if found.status_code == 200 else found.status_code


def verification(service, subject, body, name="email", bearer=None):
    """Ask for a code, or confirm one."""
    path = f"/v1/subjects/{subject}/identifiers/{name}/verification"
    return service.call("POST", path, body, bearer=bearer)


def outbox(service, kind):
    """Return the payloads of one kind that wait."""
    with service.container.store.transaction() as tx:
        rows = service.container.outbox.waiting(tx, limit=500, reveal=True)
    return [row["payload"] for row in rows if row["kind"] == kind]


def sent(service, subject, name="email"):
    """Have a code sent, and return it."""
    before = outbox(service, "identifier.verification")
    answer = verification(service, subject, {}, name)
    assert answer.json == {"status": "sent"}, answer.json
    (new,) = [item for item in outbox(service, "identifier.verification") if item not in before]
    return new["code"]


def signs_in(service, typed):
    """Tell whether the password verifies under an identifier."""
    answer = service.act(service.begin(typed).json, "password", {"password": PASSWORD})
    return answer.status_code == 200 or answer.json["code"] != "verification_failed"


@pytest.mark.parametrize(
    ("typed", "normal"),
    [
        ("(+49) 30 901820", "+4930901820"),
        ("+49\u00a030\u00a0901821", "+4930901821"),
        ("\u202a+49 30 901822\u202c", "+4930901822"),
        ("tel:+49-30-901823", "+4930901823"),
        ("+49\u201130\u2013901824", "+4930901824"),
        ("\uff0b\uff14\uff19 30 901825", "+4930901825"),
    ],
)
def test_a_telephone_is_found_by_the_text_it_was_registered_with(service, typed, normal):
    """What registers is found by the same text, and what is sent goes to the normal form."""
    person = register(service, phone=typed)
    assert person.json["identifiers"] == {"phone": normal}
    assert lookup(service, typed) == lookup(service, normal) == person.json["id"]
    code = sent(service, person.json["id"], "phone")
    assert [item["to"] for item in outbox(service, "identifier.verification")] == [normal]
    assert verification(service, person.json["id"], {"code": code}, "phone").status_code == 200
    assert signs_in(service, typed)


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("phone", "+49 30 901823 ext. 7"),
        ("phone", "+49 30 901823x7"),
        ("phone", "+49 30 901823;ext=7"),
        ("phone", "abc +4930901824"),
        ("phone", "+4930901824 abc"),
        ("email", "a,b@example.com"),
        ("email", "a\u200bb@example.com"),
        ("email", "a@exam\u200bple.com"),
        ("email", "a\u202eb@example.com"),
        ("email", "a@example.com\r\nBcc: b@example.com"),
        ("username", "ada\uff20example.com"),
        ("username", "\uff0b\uff14\uff1930901820"),
        ("username", "\u0664\u0669\u0663\u0660\u0669\u0660"),
    ],
)
def test_what_is_none_of_its_kind_is_refused_with_its_place(service, name, typed):
    """Letters, extensions, unseen characters and second lines; names that read as others."""
    answer = register(service, **{name: typed})
    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"] == f"/identifiers/{name}"
    assert lookup(service, typed) in {404, 422}


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("max@stra\u00dfe.example", "max@strasse.example"),
        ("a@\u03bb\u03cc\u03b3\u03bf\u03c2.example", "a@\u03bb\u03cc\u03b3\u03bf\u03c3.example"),
        ("stra\u00dfe@example.com", "strasse@example.com"),
    ],
)
def test_two_mailboxes_are_two(service, one, two):
    """Sharp s is not ss, final sigma is not sigma: both owners verify and sign in."""
    for address in (one, two):
        person = register(service, email=address).json["id"]
        code = sent(service, person)
        assert verification(service, person, {"code": code}).json == {"status": "verified"}
        assert lookup(service, address) == person
    assert lookup(service, one) != lookup(service, two)


@pytest.mark.parametrize(
    ("one", "two", "normal"),
    [
        ("a@fa\u00df.example", "a@xn--fa-hia.example", "a@xn--fa-hia.example"),
        (" ab@example.com\r\n", "ab@example.com.", "ab@example.com"),
        ("Ab@Example.com", "ab@example.com\u3002", "ab@example.com"),
    ],
)
def test_one_mailbox_is_one(service, one, two, normal):
    """The normal form is kept and sent to; a second account cannot have it once verified."""
    person = register(service, email=one)
    assert person.json["identifiers"] == {"email": normal}
    code = sent(service, person.json["id"])
    assert [item["to"] for item in outbox(service, "identifier.verification")] == [normal]
    assert verification(service, person.json["id"], {"code": code}).status_code == 200
    taken = register(service, email=two)
    assert (taken.status_code, taken.json["code"]) == (409, "identifier_taken")
    assert lookup(service, two) == person.json["id"]


def test_space_around_a_username_counts_for_nothing(service):
    """Registered, looked up and signed in with it, it is the same name."""
    person = register(service, username="ada ")
    assert person.json["identifiers"] == {"username": "ada"}
    for typed in ("ada", "ada ", " ada", "\u00a0Ada\r\n"):
        assert lookup(service, typed) == person.json["id"]
        assert signs_in(service, typed)
    assert register(service, username=" ADA").status_code == 409


@pytest.mark.parametrize(
    "day", ["2001-02-30", "2999-01-01", "2026-11-24", "\u0662\u0660\u0660\u0661-02-03", "x"]
)
def test_a_birth_date_is_a_day_in_the_past(service, day):
    """At registration and at a change; the place is named."""
    body = {"identifiers": {"username": "ada"}, "profile": {"birthdate": day}}
    answer = service.call("POST", "/v1/subjects", body)
    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"] == "/profile/birthdate"
    path = f"/v1/subjects/{register(service, username='ada').json['id']}"
    answer = service.call("PATCH", path, {"profile": {"birthdate": day}})
    assert answer.json["errors"][0]["pointer"] == "/profile/birthdate"
    good = service.call("PATCH", path, {"profile": {"birthdate": "2026-11-23"}})
    assert good.json["profile"] == {"birthdate": "2026-11-23"}


@pytest.mark.parametrize("by_null", [False, True])
def test_a_code_proves_the_address_it_was_sent_to(service, by_null):
    """Sent to mine, changed to theirs, confirmed with the old code: refused."""
    person = register(service, username="mallory", email="mine@example.com").json["id"]
    code = sent(service, person)
    for email in ([None] if by_null else []) + ["theirs@example.com"]:
        changed = service.call("PATCH", f"/v1/subjects/{person}", {"identifiers": {"email": email}})
        assert changed.status_code == 200
    refused = verification(service, person, {"code": code})
    assert (refused.status_code, refused.json["code"]) == (410, "verification_expired")
    assert not signs_in(service, "theirs@example.com")


def test_a_change_in_other_words_keeps_what_is_verified(service):
    """Nothing is unverified, nobody is told."""
    person = register(service, email="ab@example.com").json["id"]
    assert verification(service, person, {"code": sent(service, person)}).status_code == 200
    for again in ("AB@example.com", " ab@EXAMPLE.com. "):
        body = {"identifiers": {"email": again}}
        assert service.call("PATCH", f"/v1/subjects/{person}", body).json["verified"] == ["email"]
    assert outbox(service, "identifier.changed") == []


def told(answer):
    """Return what an answer tells, without what is another in every answer."""
    return answer.status_code, {
        name: value
        for name, value in (answer.json or {}).items()
        if name not in {"id", "trace_id", "instance", "identifiers", "created_at", "updated_at"}
    }


def test_a_client_of_another_segment_cannot_tell_a_held_address_from_a_free_one(service):
    """Registration, change, code, guess and look-up answer the same for both."""
    owner = register(service, email="held@example.com").json["id"]
    assert verification(service, owner, {"code": sent(service, owner)}).status_code == 200
    service.clock.advance(minutes=5)
    service.bearer = service.access()
    bank = service.access(service.new_client(segments=("bank",)))
    answers = []
    for email in ("held@example.com", "free@example.com"):
        new = register(service, bearer=bank, email=email)
        steps = [
            new,
            *(
                verification(service, new.json["id"], body, bearer=bank)
                for body in ({}, {"code": "00000000"}, {}, {"code": "x"}, {})
            ),
        ]
        steps.append(service.call("POST", LOOKUP, {"identifier": email}, bearer=bank))
        other = register(service, bearer=bank, username=f"name-{len(answers)}").json["id"]
        body = {"identifiers": {"email": email}}
        steps.append(service.call("PATCH", f"/v1/subjects/{other}", body, bearer=bank))
        answers.append([told(step) for step in steps])
    assert answers[0] == answers[1]
    assert [status for status, _ in answers[0]] == [201, 200, 422, 200, 422, 429, 200, 200]
    assert lookup(service, "held@example.com") == owner


def test_codes_that_were_sent_are_read_as_people_paste_them(service):
    """With a space in the middle, full width, Arabic digits; what is no code costs nothing."""
    spellings = (
        lambda code: f" {code[:4]} {code[4:]}\r\n",
        lambda code: f"{code[:4]}\u2011{code[4:]}",
        lambda code: "".join(chr(0xFF10 + int(digit)) for digit in code),
        lambda code: "\u200e" + "".join(chr(0x0660 + int(digit)) for digit in code),
    )
    for number, spell in enumerate(spellings):
        person = register(service, email=f"a{number}@example.com").json["id"]
        code = sent(service, person)
        for _ in range(10):
            answer = verification(service, person, {"code": "no code"})
            assert (answer.status_code, answer.json["code"]) == (422, "invalid_input")
            assert answer.json["errors"][0]["pointer"] == "/code"
        assert verification(service, person, {"code": spell(code)}).json["status"] == "verified"


def test_a_pasted_code_signs_in_and_no_code_costs_no_attempt(service):
    """A time-based code in Arabic digits, a recovery code with another hyphen and a line end."""
    person = service.register()
    flow = service.begin().json
    before = service.act(flow, "password", {"password": PASSWORD}).json["attempts_left"]
    for action in ("totp", "recovery_code"):
        answer = service.act(flow, action, {"code": "!"})
        assert (answer.status_code, answer.json["code"]) == (422, "invalid_input")
    arabic = "".join(chr(0x0660 + int(digit)) for digit in service.code(person))
    done = service.act(flow, "totp", {"code": arabic}).json
    assert done["status"] == "completed"
    flow = service.begin().json
    assert service.act(flow, "password", {"password": PASSWORD}).json["attempts_left"] == before
    pasted = person.codes[0].replace("-", "\u2011") + "\n"
    assert service.act(flow, "recovery_code", {"code": pasted}).json["status"] == "completed"


def test_the_first_code_of_a_generator_is_read_alike(service):
    """Confirming, recovering and stepping up read what a login reads; no code costs nothing."""
    person = service.register()
    added = service.enroll(person, "totp").json
    path = f"/v1/subjects/{person.id}/authenticators/{added['id']}/confirm"
    for _ in range(10):
        answer = service.call("POST", path, {"code": "no code"})
        assert (answer.status_code, answer.json["code"]) == (422, "invalid_input")
    person.secret = added["secret"]
    spelled = "\u2066" + "\u200b\u00a0".join(service.code(person, -1)) + "\u2069\r\n"
    assert service.call("POST", path, {"code": spelled}).status_code == 200
    arabic = "".join(chr(0x06F0 + int(digit)) for digit in service.code(person))
    flow = service.begin(kind="recovery").json
    code = person.codes[0].lower().replace("-", "\u2011\u200b")
    assert service.act(flow, "recovery_code", {"code": code}).status_code == 200
    assert service.act(flow, "totp", {"code": arabic}).json["status"] == "completed"
    service.clock.advance(seconds=31)
    access = service.exchange(service.login(person)["completion_code"]).json["access_token"]
    service.clock.advance(seconds=31)
    flow = service.begin(None, "step_up", access_token=access, max_age=1).json
    while flow["status"] == "pending":
        name = "password" if "password" in flow["actions"] else "totp"
        code = f" {service.code(person)}\n"
        typed = {"password": PASSWORD} if name == "password" else {"code": code}
        flow |= service.act(flow, name, typed).json
    assert flow["status"] == "completed"


def test_too_many_codes_are_429(service):
    """With the time to wait; the next code goes when it is over."""
    person = register(service, email="ab@example.com").json["id"]
    statuses = [verification(service, person, {}).status_code for _ in range(20)]
    assert statuses == [200, 200] + [429] * 18
    limited = verification(service, person, {})
    assert limited.json["code"] == "verification_limited"
    assert limited.headers["Retry-After"] == "30"
    service.clock.advance(seconds=29)
    assert verification(service, person, {}).status_code == 429
    service.clock.advance(seconds=1)
    assert verification(service, person, {}).status_code == 200


def test_another_clients_subject_is_not_there_to_verify(service):
    """Neither to send to nor to confirm, before any code is read."""
    person = register(service, email="ab@example.com").json["id"]
    bank = service.access(service.new_client(segments=("bank",)))
    for body in ({}, {"code": "12345678"}, {"code": "x"}):
        assert verification(service, person, body, bearer=bank).status_code in {404, 422}
    assert outbox(service, "identifier.verification") == []
    assert verification(service, person, {}, name="username").status_code == 404


@pytest.mark.parametrize("name", ["\u03f4eta", "the \u03f4"])
def test_a_name_that_cannot_be_kept_as_it_is_written_is_refused_with_its_place(service, name):
    """Its lower case is a name; at registration and at a change it is 422 alike."""
    person = register(service, username="zoe").json["id"]
    path, body = f"/v1/subjects/{person}", {"identifiers": {"username": name}}
    for answer in (register(service, username=name), service.call("PATCH", path, body)):
        assert answer.status_code == 422
        (fault,) = answer.json["errors"]
        assert (fault["pointer"], fault["code"]) == ("/identifiers/username", "invalid_username")
