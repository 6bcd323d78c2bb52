"""HTTP of sessions."""

from collections.abc import Mapping
from typing import Any

from service.accounts.actions import Accounts
from service.sessions.actions import Sessions
from service.store.engine import Store
from service.web.api import Api, Call, Operation

_PATH = "/v1/subjects/{subject}/sessions"


def routes(api: Api, database: Store, accounts: Accounts, sessions: Sessions) -> None:
    """Register the operations."""

    def listing(call: Call) -> Mapping[str, Any]:
        subject = call.id("subject", "subject")
        with database.transaction(read=True) as tx:
            accounts.served(tx, call.by, subject)
            return sessions.page(tx, subject, call.page)

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
    api.add(Operation("GET", _PATH, "List sessions in force", "subjects:read", paged=True), listing)
    api.add(Operation("DELETE", _PATH, "End every session", write, status=204), end_all)
    api.add(
        Operation("DELETE", f"{_PATH}/{{session}}", "End one session", write, status=204), end_one
    )
