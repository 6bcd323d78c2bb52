"""Resolve identifiers to subjects at sign-in, and report which identifiers sign in."""

from collections.abc import Callable, Collection
from uuid import UUID

from service.accounts.actions.claims import Claims
from service.accounts.model import Account, IdentifierLookup, IdentifierType, Lead, identify
from service.accounts.store import leads
from service.accounts.store.subjects import AccountCells, Digests, Subject
from service.domain import ids
from service.store.engine import AnyRow, Tx


def account_of(row: AnyRow | AccountCells) -> Account:
    """Return the account of a row, from its columns that are not sealed."""
    return Account(
        id=row.id,
        status=row.status,
        segment=row.segment,
        client=row.client_id,
        created_at=row.created_at,
        first_login_at=row.first_login_at,
        suspended=bool(row.suspended),
    )


class Leading:
    """Resolves identifiers to subjects."""

    def __init__(self, claims: Claims) -> None:
        self._claims = claims
        self._admits: Callable[[str], bool] = lambda _segment: False

    def follow(self, admits: Callable[[str], bool]) -> None:
        """Set the function that decides in which segments unverified e-mail addresses sign in.

        The default is in none. Only views use it; a login passes the allowed segments itself.
        """
        self._admits = admits

    def find(self, tx: Tx, typed: str, unproven: Collection[str] = ()) -> IdentifierLookup:
        """Return the account that an identifier leads to.

        Unknown and known identifiers take the same time: one statement returns the subject or the
        decoy.

        Args:
            tx: A transaction.
            typed: The identifier as typed.
            unproven: The segments in which an unverified e-mail address leads to the only subject
                that claims it. Other unverified addresses lead to no subject.
        """
        field, normal = identify(typed) or (IdentifierType.USERNAME, "")
        digests = self._claims.digests(tx, field, normal)
        segments = unproven if field is IdentifierType.EMAIL else ()
        account = account_of(
            leads.resolve(
                tx, field=field.value, digests=digests, decoy=ids.DECOY, unproven=segments
            )
        )
        names = (
            f"identifier:{field.value}:{normal or typed.strip().casefold()}",
            f"subject:{account.id}",
        )
        found = account if account.usable else None
        return IdentifierLookup(found, names[account.usable], tuple(digests) if segments else ())

    def lead_of(self, tx: Tx, subject: UUID, digests: Digests, unproven: Collection[str]) -> Lead:
        """Return how an e-mail address leads to a subject now.

        Args:
            tx: A transaction. While it locks the subject, a verification of the address waits.
            subject: The subject.
            digests: The digests of the address, from `find`.
            unproven: As in `find`.
        """
        row = leads.resolve(
            tx,
            field=IdentifierType.EMAIL.value,
            digests=digests,
            decoy=ids.DECOY,
            unproven=unproven,
        )
        if row.id != subject:
            return Lead.NOWHERE
        return Lead.CLAIM if row.lead_verified_at is None else Lead.PROOF

    def admitted(self, tx: Tx, row: Subject, proven: Collection[str]) -> set[str]:
        """Return the identifiers that sign in unverified: by policy, at most the e-mail address."""
        email = IdentifierType.EMAIL.value
        if not row.email or email in proven or not self._admits(row.segment):
            return set()
        digests = self._claims.of(tx, IdentifierType.EMAIL, row.email)
        lead = digests and self.lead_of(tx, row.id, digests, (row.segment,))
        return {email} if lead is Lead.CLAIM else set()
