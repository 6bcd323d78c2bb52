"""HTTP routes for sessions."""

from collections.abc import Callable
from uuid import UUID

from service.accounts.actions.accounts import Accounts
from service.domain.caller import Caller
from service.domain.errors import BadInput, Fault
from service.domain.ids import parse_id
from service.sessions.actions import Sessions
from service.sessions.views import SessionView
from service.store.engine import Store
from service.web.call import Call
from service.web.operation import delete, get
from service.web.paging import Page

_PATH = "/v1/subjects/{subject}/sessions"
_TOKEN = "Session-Token"  # noqa: S105 - the name of a header
_WRITE = "sessions:write"
Named = Callable[[str, UUID], str | None]


class SessionRoutes:
    """The operations on sessions.

    Args:
        database: Opens transactions.
        accounts: Checks which subjects a caller serves.
        sessions: The sessions.
        named: Returns the session that an access token of a client names; None for another token.
    """

    def __init__(
        self, database: Store, accounts: Accounts, sessions: Sessions, named: Named
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._sessions = sessions
        self._named = named

    @get(
        _PATH,
        scope="subjects:read",
        paged=True,
        headers=(_TOKEN,),
        answer=Page[SessionView],
    )
    def list_sessions(self, call: Call) -> Page[SessionView]:
        """List sessions in force."""
        subject = call.id("subject", "subject")
        token = call.header(_TOKEN)
        current = _session(self._named, call.by, token) if token else None
        with self._database.reading() as tx:
            account = self._accounts.served(tx, call.by, subject)
            return self._sessions.page(tx, account, call.page, current)

    @delete(_PATH, scope=_WRITE, status=204)
    def revoke_all_sessions(self, call: Call) -> None:
        """End every session."""
        subject = call.id("subject", "subject")
        with self._database.transaction() as tx:
            self._accounts.served_locked(tx, call.by, subject)
            self._sessions.end_all(tx, subject, "ended_by_client")

    @delete(f"{_PATH}/{{session}}", scope=_WRITE, status=204)
    def revoke_session(self, call: Call) -> None:
        """End one session."""
        subject = call.id("subject", "subject")
        session = call.id("session", "session")
        with self._database.transaction() as tx:
            self._accounts.served_locked(tx, call.by, subject)
            self._sessions.end_one(tx, subject, session, "ended_by_client")


def _session(named: Named, caller: Caller, token: str) -> UUID | None:
    found = named(token, caller.client)
    if found is None:
        detail = f"{_TOKEN} must be an access token of the person, issued to this client and valid"
        raise BadInput(Fault("", "bad_session_token", detail))
    return parse_id(found)
