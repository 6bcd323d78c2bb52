"""Acts of two subjects that claim the same addresses."""

import uuid
from operator import attrgetter

from service.domain.caller import Caller

MINE = "mine@example.com"


THEIRS = "theirs@example.com"


PHONES = ("+4930901820", "+4930901821")


BANK = Caller(client=uuid.UUID(int=6), scopes=frozenset(), segments=("bank",))


SISTER = Caller(client=uuid.UUID(int=7), scopes=frozenset())


def act(container, name, *arguments, **named):
    """Call an action in a unit of work of its own."""
    with container.store.transaction() as tx:
        return attrgetter(name)(container.accounts)(tx, *arguments, **named)


def find(container, typed):
    """Return the id of the subject that signs in with an identifier, or None."""
    account = act(container, "find", typed).account
    return account.id if account else None


def change(container, subject, **identifiers):
    """Change identifiers as the registering client."""
    return act(container, "update", container.caller, subject, identifiers=identifiers)


def waiting(container, kind):
    """Return subject and payload of what waits in the outbox, of one kind."""
    with container.store.transaction() as tx:
        rows = container.outbox.waiting(tx, limit=500, reveal=True)
    return [(row["subject"], row["payload"]) for row in rows if row["kind"] == kind]


def sent(container, subject, name="email"):
    """Have a code sent; return it, or None where none was."""
    before = waiting(container, "identifier.verification")
    act(container, "send_code", subject, name)
    new = [row for row in waiting(container, "identifier.verification") if row not in before]
    return new[0][1]["code"] if new else None


def prove(container, subject, name="email"):
    """Verify an address."""
    assert act(container, "check_code", subject, name, sent(container, subject, name))


def other(code):
    """Return another code."""
    return code[:-1] + str((int(code[-1]) + 1) % 10)
