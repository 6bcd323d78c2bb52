"""Token-signing keys of this process."""

from typing import TYPE_CHECKING

from crypto.errors import KeyUnavailable
from service.domain.clock import Clock
from service.domain.errors import Unavailable
from service.domain.ids import new_id
from service.keys.model import SigningStatus
from service.keys.store import hierarchy as store
from service.keys.store.hierarchy import SigningKeyRow
from service.keys.views import KeySet, PublicKeyView, published
from service.store.engine import Tx

if TYPE_CHECKING:
    from crypto.signing import SigningKey


class SigningKeys:
    """Token-signing keys: the active one signs; pending and verify-only ones are published too."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._active: SigningKey | None = None
        self._published: dict[str, PublicKeyView] = {}
        self._states: list[tuple[str, str]] = []

    def load(self, tx: Tx) -> None:
        """Load the keys, or create the first one."""
        if not store.signing_states(tx):
            self.create(tx, SigningStatus.ACTIVE)
        self.refresh(tx)

    def refresh(self, tx: Tx) -> None:
        """Reload the keys if the state of any has changed."""
        states = store.signing_states(tx)
        if states == self._states:
            return
        rows = store.signing_keys(tx)
        active = [row for row in rows if row.status == SigningStatus.ACTIVE]
        self._active = _private(active[-1]) if active else None
        self._published = {row.kid: published(row.public_jwk) for row in rows}
        self._states = states

    def create(self, tx: Tx, status: SigningStatus) -> str:
        """Create a key in a state and return its kid; raises KeyUnavailable."""
        from crypto.signing import SigningKey  # noqa: PLC0415 - commands that sign nothing skip it

        key = SigningKey.generate()
        now = self._clock.now()
        row = SigningKeyRow(
            id=new_id(now),
            kid=key.kid,
            status=status,
            public_jwk=key.public_jwk(),
            created_at=now,
            changed_at=now,
        )
        row.private = key.to_bytes()
        tx.add(row)
        tx.flush()
        return key.kid

    @property
    def active(self) -> "SigningKey":
        """Return the key that signs; raises Unavailable if this process has none."""
        if self._active is None:
            raise Unavailable("signing_unavailable", "This process holds no signing key.")
        return self._active

    def states(self) -> dict[str, str]:
        """Return the state of each published key, by kid."""
        return dict(self._states)

    def jwks(self) -> KeySet:
        """Return the JSON Web Key Set (RFC 7517) of all published keys."""
        return {"keys": list(self._published.values())}


def _private(row: SigningKeyRow) -> "SigningKey | None":
    from crypto.signing import SigningKey  # noqa: PLC0415 - as above

    try:
        return SigningKey.from_bytes(row.private)
    except KeyUnavailable:
        # A process without the class `signing` verifies tokens and issues none.
        return None
