"""Twenty at once, on roles, approvals, links and jobs: the outcome is that of some order."""

from datetime import timedelta
from uuid import UUID

import pytest

from service.domain.errors import LaminaError
from service.operators.model import Role
from tests.functional.test_operators import approved, ask
from tests.functional.test_quorum import do, short, who
from tests.races.test_once import AT_ONCE, poster, statuses, together

ROUNDS = 5


def as_operator(service, bearer, path, body):
    """Return a call of its own in an operator's name."""
    client = service.app.test_client()
    headers = {"Authorization": f"Bearer {bearer}"}
    return lambda: client.post(path, json=body, headers=headers)


def quietly(act):
    """Return what an act on the host returns, or the code of its refusal."""

    def run():
        try:
            return act()
        except LaminaError as refused:
            return refused.code

    return run


def test_a_link_makes_one_operator(service):
    """Twenty people with one link: one sits; one person with two links at once: one seat."""
    first, _ = do(service, "break_glass.bootstrap")
    people = [service.sign_up(f"person{number}")[1] for number in range(4)]
    path = "/v1/operators/bootstrap"
    acts = [
        poster(service, path, {"token": first, "access_token": tokens["access_token"]})
        for tokens in people * (AT_ONCE // len(people))
    ]
    found = statuses(together(acts))
    assert found.pop(200) == 1, found
    assert set(found) <= {403}, found
    assert short(service)["operators:admin"] == 1
    ada = {"access_token": service.sign_up("ada")[1]["access_token"]}
    do(service, "break_glass.bootstrap", reopen=True)
    links = do(service, "break_glass.bootstrap", reopen=True)
    acts = [poster(service, path, {"token": link} | ada) for link in links * 10]
    found = statuses(together(acts))
    assert found.pop(200) == 1, found
    assert set(found) <= {403, 409}, found


def test_bootstrap_is_opened_once(service):
    """Twenty commands at once give out one round of links."""
    answers = together([quietly(lambda: do(service, "break_glass.bootstrap"))] * AT_ONCE)
    given = [answer for answer in answers if isinstance(answer, list)]
    assert len(given) == 1, answers
    assert {answer for answer in answers if isinstance(answer, str)} == {"bootstrap_opened"}


@pytest.mark.parametrize("asks", [True, False], ids=["who asked", "who approves"])
def test_a_dismissal_and_an_approval_have_an_order(service, officers, asks):
    """Either it was approved before, or it is void: no dismissed operator's wish comes true."""
    ada, grace = officers
    mary, _ = service.sign_up("mary")
    subject = UUID(who(service, ada if asks else grace))
    for _ in range(ROUNDS):
        number = ask(service, ada, "operators.grant", mary.id, role="auditor").json["id"]
        path = f"/v1/approvals/{number}/approve"
        approving = [as_operator(service, grace, path, {}) for _ in range(AT_ONCE - 1)]

        def dismiss():
            return do(service, "roles.revoke", subject, "security_officer", "break_glass")

        answers = together([*approving, quietly(dismiss)])[:-1]
        found = statuses(answers)
        assert found.get(200, 0) <= 1, found
        assert set(found) <= {200, 401, 403, 409}, [answer.json for answer in answers]
        with service.container.store.transaction(read=True) as tx:
            shown = service.container.operators.show(tx, UUID(number))
            roles = {
                row["role"]
                for row in service.container.operators.roles.listing(tx)
                if row["subject"] == mary.id
            }
        used = found.get(200, 0) == 1
        assert shown["status"] == ("used" if used else "void" if asks else "pending")
        assert roles == ({"auditor"} if used else set())
        do(service, "break_glass.grant", subject, Role.SECURITY_OFFICER)
        if used:
            do(service, "roles.revoke", UUID(mary.id), "auditor", "break_glass")


def test_a_dismissal_and_a_use_have_an_order(service, officers):
    """An approval is used once, before the dismissal, or never."""
    ada, grace = officers
    subject = UUID(who(service, ada))
    client, _ = service.new_client()
    path = f"/v1/clients/{client}/secret"
    for _ in range(ROUNDS):
        number = approved(service, officers, "clients.secret", client).json["id"]
        body = {"approval": number}
        using = [as_operator(service, grace, path, body) for _ in range(AT_ONCE - 1)]

        def dismiss():
            return do(service, "roles.revoke", subject, "security_officer", "break_glass")

        found = statuses(together([*using, quietly(dismiss)])[:-1])
        assert found.get(200, 0) <= 1, found
        assert set(found) <= {200, 409}, found
        with service.container.store.transaction(read=True) as tx:
            status = service.container.operators.show(tx, UUID(number))["status"]
        assert status == ("used" if found.get(200) else "void")
        do(service, "break_glass.grant", subject, Role.SECURITY_OFFICER)


def test_a_dismissal_and_a_job_have_an_order(service, officers):
    """A queued job begins before the dismissal or not at all."""
    ada, _ = officers
    subject, jobs = UUID(who(service, ada)), service.container.key_admin.jobs
    for _ in range(ROUNDS):
        number = UUID(service.call("POST", "/v1/keys/verify", {}, bearer=ada).json["id"])
        acts = [quietly(lambda number=number: jobs.run(number)["status"]) for _ in range(3)]

        def dismiss():
            return do(service, "roles.revoke", subject, "security_officer", "break_glass")

        together([*acts, quietly(dismiss)])
        jobs.run_queued()
        with service.container.store.transaction(read=True) as tx:
            ended = jobs.view(tx, number)
        assert ended["status"] in {"done", "void"}
        assert (ended["started_at"] is None) == (ended["status"] == "void")
        do(service, "break_glass.grant", subject, Role.SECURITY_OFFICER)


def test_two_who_dismiss_each_other_lock_nobody_up(service, officers):
    """Each approves the other's dismissal at once: no error, and one of the orders comes out."""
    ada, grace = officers
    names = [who(service, bearer) for bearer in officers]
    for _ in range(ROUNDS):
        paths = []
        for bearer, target in ((ada, names[1]), (grace, names[0])):
            asked = ask(service, bearer, "operators.revoke", target, role="security_officer")
            paths.append(f"/v1/approvals/{asked.json['id']}/approve")
        acts = [
            as_operator(service, bearer, path, {})
            for bearer, path in ((grace, paths[0]), (ada, paths[1]))
            for _ in range(AT_ONCE // 2)
        ]
        found = statuses(together(acts))
        assert found[200] == 1, found
        assert set(found) <= {200, 401, 403, 409}, found
        for name in names:
            if short(service):
                quietly(
                    lambda name=name: do(
                        service, "break_glass.grant", UUID(name), Role.SECURITY_OFFICER
                    )
                )()


def test_rotations_at_once_leave_one_secret_and_one_before_it(service):
    """Of twenty rotations with an overlap two secrets count: the last and the one it replaced."""
    client, first = service.new_client()

    def rotate():
        with service.container.store.transaction() as tx:
            return service.container.clients.rotate_secret(tx, UUID(client), timedelta(hours=1))

    secrets = together([rotate] * AT_ONCE)
    counting = 0
    for secret in (first, *secrets):
        answer = service.oauth("token", (client, secret), grant_type="client_credentials")
        counting += answer.status_code == 200
    assert counting == 2
