"""Everything held about a subject, as a job, for who may ask and for an hour."""

import json
from uuid import UUID

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from service.cli import main
from service.store.personal_data import held
from service.throttling.model import Counter, Lane
from tests.functional.conftest import CONSENT, PASSWORD
from tests.functional.test_operators import ask

PROFILE = {"name": "Alice Example", "birthdate": "1990-01-01"}


@pytest.fixture
def alice(service):
    """Somebody with a profile, consents and an address."""
    return service.register(
        identifiers={"username": "alice", "email": "alice@example.org"},
        profile=PROFILE,
        consents=[CONSENT | {"purpose": "behavior"}],
    )


def granted(service, person):
    """Return a grant for an export."""
    tokens = service.exchange(service.login(person)["completion_code"]).json
    wanted = {"access_token": tokens["access_token"], "act": "export:data"}
    flow = service.begin(None, "enrollment", **wanted).json
    assert flow["status"] == "completed", flow
    return flow["grant"]


def export(service, person, **headers):
    return service.call("POST", f"/v1/subjects/{person.id}/export", **headers)


def made(service, person):
    """Ask, let the job run, and return it."""
    asked = export(service, person, Grant=granted(service, person))
    assert asked.status_code == 202, asked.json
    assert service.container.key_admin.jobs.run_queued() == 1
    return service.call("GET", asked.headers["Location"]).json


def sections(document):
    return {item["name"]: item for item in document["sections"]}


def test_everything_is_there_in_the_clear_and_secrets_are_named(service, alice):
    """Identifiers, profile, consents and decisions are given; verifiers are named, never shown."""
    job = made(service, alice)
    assert (job["kind"], job["status"], job["done"]) == ("export", "done", len(held()))
    answer = service.call("GET", job["report"]["result"])
    assert answer.status_code == 200, answer.json
    document = answer.json
    assert (document["format"], document["subject"]) == (1, alice.id)
    found = sections(document)
    assert set(found) == {item.name for item in held()}
    (subject,) = found["subject"]["rows"]
    assert subject["username"] == "alice"
    assert subject["email"] == "alice@example.org"
    assert subject["profile"] == PROFILE
    assert found["consent"]["rows"][0]["purpose"] == "behavior"
    kinds = {row["type"] for row in found["authenticator"]["rows"]}
    assert kinds == {"password", "totp", "recovery_codes"}
    assert all(row["created_at"] for row in found["authenticator"]["rows"])
    why = found["authenticator"]["withheld"][0]
    assert why["field"] == "verifier"
    assert "hash" in why["reason"]
    assert len(found["recovery_code"]["rows"]) == len(alice.codes)
    (session,) = found["session"]["rows"]
    assert {item["factor"] for item in session["evidence"]} == {"password", "totp"}
    assert found["policy_decision"]["rows"][-1]["facts"]["band"] == "low"
    assert found["totp_used_step"]["rows"]
    assert found["refresh_token"]["rows"]
    assert found["throttle"]["rows"]
    assert {row["kind"] for row in found["audit_leaf"]["rows"]} >= {
        "subject.registered",
        "session.started",
        "subject.export_requested",
    }
    assert {item["name"] for item in document["not_found_by_subject"]} >= {"flow", "kept_answer"}
    assert all(item["unreadable"] == 0 for item in document["sections"])


def test_failed_faces_are_told_by_their_number(service, alice):
    """A row that is strict says so beside its count, which is what was counted."""
    container = service.container
    with container.store.transaction() as tx:
        bucket = container.throttling.bucket(tx, f"subject:{alice.id}")
        container.throttling.reserve(tx, bucket, Lane.STRANGER, Counter.LIVE_FACE)
        container.throttling.reserve(tx, bucket, Lane.STRANGER, Counter.FACE)
    asked = export(service, alice)
    assert container.key_admin.jobs.run_queued() == 1
    job = service.call("GET", asked.headers["Location"]).json
    document = service.call("GET", job["report"]["result"]).json
    rows = {row["lane"]: row for row in sections(document)["throttle"]["rows"]}
    assert (rows["stranger"]["face"], rows["stranger"]["strict"]) == (2, True)


def test_no_secret_of_anybody_is_in_an_export(service, alice):
    """Neither hash, shared secret, code nor token, and nothing of another person."""
    bob = service.register("bob", profile={"name": "Bob Other"})
    job = made(service, alice)
    body = service.call("GET", job["report"]["result"]).get_data(as_text=True)
    for secret in ("argon2", PASSWORD, alice.secret, "Bob Other", bob.id, *alice.codes):
        assert secret not in body, secret
    assert '"llr"' not in body


def test_an_export_takes_a_grant_once_the_person_has_signed_in(service, alice):
    """No grant, another act's, or a used one is refused; before the first login none is needed."""
    assert export(service, alice).status_code == 202
    grant = granted(service, alice)
    refused = export(service, alice)
    assert (refused.status_code, refused.json["code"]) == (403, "grant_required")
    assert export(service, alice, Grant=grant).status_code == 202
    again = export(service, alice, Grant=grant)
    assert (again.status_code, again.json["code"]) == (403, "grant_invalid")


def test_a_get_begins_no_export(service, alice):
    """It is refused by its method, nothing is queued, and the person is told of nothing."""
    answer = service.call("GET", f"/v1/subjects/{alice.id}/export")
    assert (answer.status_code, answer.json["code"]) == (405, "method_not_allowed")
    assert "POST" in answer.headers["Allow"]
    with service.container.store.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM subject_export")).scalar() == 0
        assert connection.execute(text("SELECT count(*) FROM long_job")).scalar() == 0


def test_an_export_that_is_asked_for_again_by_its_key_is_the_first(service, alice):
    """One grant, one job: the second answer has its address too; another grant is no replay."""
    grant = granted(service, alice)
    first, second = (export(service, alice, Grant=grant, Idempotency_Key="k") for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 202)
    assert second.headers["Idempotent-Replayed"] == "true"
    assert second.json == first.json
    assert second.headers["Location"] == first.headers["Location"] == f"/v1/jobs/{first.json['id']}"
    other = export(service, alice, Grant="another", Idempotency_Key="k")
    assert other.json["code"] == "idempotency_mismatch"
    assert service.container.key_admin.jobs.run_queued() == 1


def test_a_client_without_the_scope_or_the_segment_gets_nothing(service, alice):
    """The scope is one of its own; a subject of another segment is not there."""
    reader = service.access(service.new_client(name="r", scopes=("subjects:read",)))
    refused = export(service, alice, bearer=reader)
    assert (refused.status_code, refused.json["code"]) == (403, "insufficient_scope")
    other = service.access(service.new_client(name="o", segments=("elsewhere",)))
    assert export(service, alice, bearer=other).status_code == 404


def test_only_who_asked_sees_the_job_and_the_export(service, alice):
    """To another client neither is there; nor is the export under another subject."""
    job = made(service, alice)
    bob = service.register("bob")
    other = service.access(service.new_client(name="other"))
    assert service.call("GET", f"/v1/jobs/{job['id']}", bearer=other).status_code == 404
    path = job["report"]["result"]
    assert service.call("GET", path, bearer=other).status_code == 404
    assert service.call("GET", path.replace(alice.id, bob.id)).status_code == 404
    assert service.call("GET", path).status_code == 200


def test_an_export_is_sealed_while_it_waits_and_gone_after_an_hour(service, alice):
    """No plaintext lies in the table; past its time it is not there, and then deleted."""
    path = made(service, alice)["report"]["result"]
    with service.container.store.engine.connect() as connection:
        (content,) = connection.execute(text("SELECT content FROM subject_export")).one()
    assert b"alice" not in bytes(content)
    assert b"Alice Example" not in bytes(content)
    service.clock.advance(hours=1)
    service.bearer = service.access()
    late = service.call("GET", path)
    assert (late.status_code, late.json["code"]) == (404, "export_not_found")
    with service.container.store.transaction() as tx:
        assert service.container.exports.drop_expired(tx, service.clock.now()) == 1


def test_an_export_that_is_not_made_yet_is_not_there(service, alice):
    """Until the job has run the address of the export leads nowhere."""
    asked = export(service, alice)
    assert asked.json["status"] == "queued"
    with service.container.store.engine.connect() as connection:
        number = connection.execute(text("SELECT id FROM subject_export")).scalar()
    path = f"/v1/subjects/{alice.id}/export/{UUID(str(number))}"
    assert service.call("GET", path).status_code == 404


def test_a_consent_that_is_withdrawn_takes_the_export_along(service, alice):
    """An export holds something of every class: with one of them erased it is deleted."""
    path = made(service, alice)["report"]["result"]
    gone = service.call("DELETE", f"/v1/subjects/{alice.id}/consents/behavior")
    assert gone.status_code == 204
    assert service.call("GET", path).status_code == 404


def test_an_erasure_before_the_job_runs_leaves_nothing_to_export(service, alice):
    """The job fails by name, and no key is made anew for the erased."""
    asked = export(service, alice)
    assert service.call("DELETE", f"/v1/subjects/{alice.id}").status_code == 200
    service.container.key_admin.jobs.run_queued()
    job = service.call("GET", asked.headers["Location"]).json
    assert (job["status"], job["report"]["error"]) == ("partial", "export_not_found")
    with service.container.store.engine.connect() as connection:
        owned = text("SELECT count(*) FROM dek WHERE owner_kind = 1 AND owner_id = :id")
        key = UUID(alice.id)
        named = {"id": key.hex if connection.dialect.name == "sqlite" else key}
        assert connection.execute(owned, named).scalar() == 0


def test_what_does_not_open_is_counted_and_the_rest_is_given(service, alice):
    """A damaged cell leaves its field out, its section says so, and the job is partial."""
    with service.container.store.transaction() as tx:
        tx.execute(text("UPDATE subject SET profile = email WHERE profile IS NOT NULL"))
    job = made(service, alice)
    assert job["status"] == "partial"
    assert job["report"]["bad"] == [{"name": "subject", "unreadable": 1}]
    found = sections(service.call("GET", job["report"]["result"]).json)
    (subject,) = found["subject"]["rows"]
    assert "profile" not in subject
    assert subject["username"] == "alice"


def test_an_operator_needs_another_operators_approval(service, officers, alice):
    """Alone no operator exports; two do, once, and the log names both."""
    ada, grace = officers
    alone = export(service, alice, bearer=ada)
    assert (alone.status_code, alone.json["code"]) == (403, "approval_required")
    asked = ask(service, ada, "subjects.export", alice.id)
    assert asked.status_code == 201, asked.json
    number = asked.json["id"]
    early = export(service, alice, bearer=ada, Approval=number)
    assert early.status_code == 409
    approved = service.call("POST", f"/v1/approvals/{number}/approve", {}, bearer=grace)
    assert approved.status_code == 200
    bob = service.register("bob")
    other = export(service, bob, bearer=ada, Approval=number)
    assert other.json["code"] == "approval_mismatch"
    queued = export(service, alice, bearer=ada, Approval=number)
    assert queued.status_code == 202
    assert export(service, alice, bearer=ada, Approval=number).status_code == 409
    service.container.key_admin.jobs.run_queued()
    job = service.call("GET", queued.headers["Location"], bearer=ada).json
    path = job["report"]["result"]
    assert service.call("GET", path, bearer=grace).status_code == 404
    answer = service.call("GET", path, bearer=ada)
    assert answer.status_code == 200
    leaves = sections(answer.json)["audit_leaf"]["rows"]
    assert [row["actor"] for row in leaves if row["kind"] == "subject.export_requested"] == [
        "operator"
    ]
    with service.container.store.engine.connect() as connection:
        kinds = text("SELECT actor FROM audit_leaf WHERE kind = 'subject.export_requested'")
        (actor,) = connection.execute(kinds).one()
    assert actor.count("operator") == 2


def test_the_person_is_told_and_every_reading_is_in_the_log(service, alice):
    """A notice waits for the address; two readings leave two leaves."""
    path = made(service, alice)["report"]["result"]
    for _ in range(2):
        assert service.call("GET", path).status_code == 200
    with service.container.store.transaction() as tx:
        rows = service.container.outbox.waiting(tx, reveal=True)
    told = [row["payload"] for row in rows if row["kind"] == "subject.export_requested"]
    assert told == [{"to": "alice@example.org"}]
    with service.container.store.engine.connect() as connection:
        read = text("SELECT count(*) FROM audit_leaf WHERE kind = 'subject.export_collected'")
        assert connection.execute(read).scalar() == 2


def test_the_command_writes_a_new_file_for_nobody_else(service, settings, alice, tmp_path):
    """A file of mode 0600, never over another; the log tells of the break of glass."""
    if not settings.sqlite:
        pytest.skip("the command is one for both databases")
    out = tmp_path / "alice.json"

    def lamina(*arguments):
        environment = {
            "LAMINA_MODE": "development",
            "LAMINA_DATABASE_URL": settings.database_url,
            "LAMINA_ROOT_KEY": f"file:{tmp_path / 'keys'}",
            "LAMINA_FACE_ENGINE": "off",
        }
        command = ("subjects", "export", *arguments, "--out", str(out), "--json")
        return CliRunner().invoke(main, command, env=environment)

    assert lamina("nobody").exit_code == 1
    assert not out.exists()
    written = lamina("alice")
    assert written.exit_code == 0, written.output
    assert json.loads(written.stdout)["unreadable"] == 0
    assert out.stat().st_mode & 0o077 == 0
    (subject,) = sections(json.loads(out.read_text()))["subject"]["rows"]
    assert subject["profile"] == PROFILE
    again = lamina("alice")
    assert again.exit_code == 1
    assert "File exists" in again.stderr
    with service.container.store.engine.connect() as connection:
        kept = text("SELECT count(*) FROM audit_leaf WHERE kind = 'subject.exported'")
        assert connection.execute(kept).scalar() >= 1
        broken = text("SELECT count(*) FROM audit_leaf WHERE kind = 'break_glass'")
        assert connection.execute(broken).scalar() >= 1
