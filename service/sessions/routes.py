"""HTTP routes for sessions."""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from service.accounts.actions.accounts import Accounts
from service.domain.caller import Caller
from service.domain.errors import BadInput, Fault
from service.domain.ids import parse_id
from service.sessions.actions import Sessions
from service.store.engine import Store
from service.web.api import Api, Call, Operation

_PATH = "/v1/subjects/{subject}/sessions"
_TOKEN = "Session-Token"  # noqa: S105 - the name of a header
Named = Callable[[str, UUID], str | None]


def routes(api: Api, database: Store, accounts: Accounts, sessions: Sessions, named: Named) -> None:
    """Register the operations.

    Args:
        api: The operations of the app.
        database: Opens transactions.
        accounts: Checks which subjects a caller serves.
        sessions: The sessions.
        named: Returns the session that an access token of a client names; None for another token.
    """

    def listing(call: Call) -> Mapping[str, Any]:
        subject, token = call.id("subject", "subject"), call.header(_TOKEN)
        current = _session(named, call.by, token) if token else None
        with database.transaction(read=True) as tx:
            accounts.served(tx, call.by, subject)
            return sessions.page(tx, subject, call.page, current)

    def end_all(call: Call) -> None:
        subject = call.id("subject", "subject")
        with database.transaction() as tx:
            accounts.served_locked(tx, call.by, subject)
            sessions.end_all(tx, subject, "ended_by_client")

    def end_one(call: Call) -> None:
        subject, session = call.id("subject", "subject"), call.id("session", "session")
        with database.transaction() as tx:
            accounts.served_locked(tx, call.by, subject)
            sessions.end_one(tx, subject, session, "ended_by_client")

    write = "sessions:write"
    api.add(
        Operation(
            "GET", _PATH, "List sessions in force", "subjects:read", paged=True, headers=(_TOKEN,)
        ),
        listing,
    )
    api.add(Operation("DELETE", _PATH, "End every session", write, status=204), end_all)
    api.add(
        Operation("DELETE", f"{_PATH}/{{session}}", "End one session", write, status=204), end_one
    )


def _session(named: Named, caller: Caller, token: str) -> UUID | None:
    found = named(token, caller.client)
    if found is None:
        detail = f"{_TOKEN} must be an access token of the person, issued to this client and valid"
        raise BadInput(Fault("", "bad_session_token", detail))
    return parse_id(found)
