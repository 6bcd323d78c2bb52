"""A scope that can be given opens something, and what opens something can be given."""

import re
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select

from service.clients.model import SCOPES, UNSERVED, NewClient
from service.clients.store import ClientRow
from service.domain.errors import BadInput
from service.operators.model import ACTS, ADMIN_SCOPES, Role, scopes_of

OLD = sorted(UNSERVED | {"audit:read"})
DOCS = Path(__file__).parents[2] / "docs" / "api.md"


def before_it_ended(service, *scopes):
    """Return a client as it was registered when these scopes could be given."""
    client = service.new_client(name="old", scopes=("subjects:read",))
    with service.container.store.transaction() as tx:
        (row,) = tx.scalars(select(ClientRow).where(ClientRow.id == UUID(client[0])))
        row.scopes = sorted({"subjects:read", *scopes})
    return client


def test_every_scope_is_taken_by_a_route_and_every_route_by_a_role_or_a_client(service):
    """Both ways: nothing is given that opens nothing, and nothing is closed to everybody."""
    document = service.http.get("/openapi.json").json
    schemes = document["components"]["securitySchemes"]["client"]["flows"]
    served = set(schemes["clientCredentials"]["scopes"])
    of_roles = scopes_of(Role)
    # What two operators agree on opens an act, and no route of its own.
    assert served | set(ACTS.values()) == SCOPES | of_roles
    assert not UNSERVED & (SCOPES | of_roles)
    assert not SCOPES & ADMIN_SCOPES
    assert of_roles - SCOPES == ADMIN_SCOPES
    assert set(ACTS.values()) <= of_roles
    told = set(re.findall(r"`([a-z]+:[a-z]+|introspect)`", DOCS.read_text("utf-8").split("## ")[0]))
    assert served <= told


@pytest.mark.parametrize("scope", sorted(UNSERVED))
def test_a_name_that_opens_nothing_yet_is_not_given(service, scope):
    """Neither to a new client nor by two operators; which one is told."""
    with pytest.raises(BadInput) as refusal:
        service.new_client(name="new", scopes=("subjects:read", scope))
    (fault,) = refusal.value.faults
    assert (fault.pointer, fault.code) == ("/scopes", "scope_not_served")
    assert fault.detail == f"{scope} opens nothing yet: no route uses it; leave it out"
    params = {"scopes": f"subjects:read {scope}"}
    with service.container.store.transaction() as tx, pytest.raises(BadInput) as refusal:
        service.container.clients.check_scopes(tx, service.client_id, params)
    assert [fault.code for fault in refusal.value.faults] == ["scope_not_served"]


def test_who_holds_one_from_before_goes_on_without_it(service):
    """It signs in, also where it asks for the scope by name; no token holds it."""
    old = before_it_ended(service, *OLD)
    whole = service.oauth("token", old, grant_type="client_credentials")
    assert (whole.status_code, whole.json["scope"]) == (200, "subjects:read")
    for asked, given in ((f"subjects:read {' '.join(OLD)}", "subjects:read"), (OLD[0], "")):
        part = service.oauth("token", old, grant_type="client_credentials", scope=asked)
        assert (part.status_code, part.json["scope"]) == (200, given)
    more = service.oauth("token", old, grant_type="client_credentials", scope="flows:write")
    assert more.json["error"] == "invalid_scope"
    person, bearer = service.register(), whole.json["access_token"]
    assert service.call("GET", f"/v1/subjects/{person.id}", bearer=bearer).status_code == 200
    assert service.call("GET", "/v1/audit", bearer=bearer).json["code"] == "insufficient_scope"
    with service.container.store.transaction(read=True) as tx:
        shown = service.container.clients.show(tx, UUID(old[0]))
    assert (shown["scopes"], shown["idle_scopes"]) == (["subjects:read"], OLD)


def test_a_token_from_before_opens_no_more(service):
    """What a token says is held against what the client may now."""
    old = before_it_ended(service, "audit:read")
    client = UUID(old[0])
    tokens = service.container.tokens
    with service.container.store.transaction(read=True) as tx:
        row = service.container.clients.active(tx, client)
    claims = {"sub": str(client), "aud": service.container.settings.issuer}
    token = tokens._access.answer(row, claims, "audit:read subjects:read")["access_token"]
    assert tokens.authorize(token).scopes == {"subjects:read"}


def test_scopes_that_are_set_anew_leave_the_old_ones_out(service):
    """Two operators who change another scope need not know of it, and it is gone then."""
    old = before_it_ended(service, *OLD)
    container = service.container
    with container.store.transaction() as tx:
        params = {"scopes": "subjects:read flows:write"}
        container.clients.approve_scopes(tx, old[0], params, "operator:a+operator:b")
        shown = container.clients.show(tx, UUID(old[0]))
    assert (shown["scopes"], shown["idle_scopes"]) == (["flows:write", "subjects:read"], [])


def test_all_scopes_are_all_that_open_something(service):
    """`--scope all`, by which a client is made while developing."""
    with service.container.store.transaction() as tx:
        client, _ = service.container.clients.create(
            tx, NewClient(name="all", scopes=tuple(SCOPES))
        )
    assert (client.scopes, client.idle) == (SCOPES, frozenset())
