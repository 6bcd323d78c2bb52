"""Enroll and check passwords."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from crypto.errors import HasherBusy, PasswordMismatch
from crypto.hashing import PasswordHasher
from crypto.turns import Load
from service.authenticators.actions import Authenticators
from service.authenticators.enrollment import Enrollment
from service.authenticators.factor import Match, Presented
from service.authenticators.typed import TypedFactor
from service.authenticators.views import NewAuthenticator
from service.domain.assurance import Kind
from service.domain.authenticator import Authenticator, Status, Verifier
from service.domain.errors import Unavailable, VerificationFailed
from service.domain.json_values import Json
from service.domain.validation import parse
from service.factors.password.model import LONGEST, admit, normalize
from service.store.ahead import PlannedRead
from service.store.engine import Tx

TYPE: Final = "password"


class PasswordInput(BaseModel):
    """The input of the action."""

    model_config = ConfigDict(extra="forbid")

    password: Annotated[str, Field(min_length=1, max_length=4 * LONGEST)]


class PasswordFactor(TypedFactor[PasswordInput, Verifier | None, None], Enrollment[bytes, None]):
    """The factor `password`."""

    name = "password"
    kind = Kind.KNOWLEDGE
    counter = "knowledge"
    amr = ("pwd",)
    slow = True
    type = TYPE
    form = PasswordInput

    def __init__(
        self,
        authenticators: Authenticators,
        hasher: PasswordHasher,
        decoy: UUID,
        ended: Callable[[Tx, UUID], object] | None = None,
    ) -> None:
        self._authenticators = authenticators
        self._hasher = hasher
        self._decoy = decoy
        self._ended = ended

    def busy(self) -> Load:
        """Return the current load of the hasher."""
        return self._hasher.load()

    def hash(self, password: str, pointer: str = "/password") -> bytes:
        """Return the verifier of a new password; slow, so call it outside transactions.

        Raises:
            BadInput: The password is not allowed.
            Unavailable: Too many hashes are waiting.
        """
        admitted = admit(password, pointer)
        try:
            return self._hasher.hash(admitted).encode()
        except HasherBusy:
            raise _busy() from None

    def enroll(self, tx: Tx, subject: UUID, verifier: bytes) -> Authenticator:
        """Add a password; it replaces an earlier one and deletes its typing profile."""
        self.revoked(tx, subject)
        return self._authenticators.add(tx, subject, TYPE, verifier, status=Status.ACTIVE)

    def revoked(self, tx: Tx, subject: UUID) -> None:
        """Delete the typing profile of a revoked password."""
        if self._ended is not None:
            self._ended(tx, subject)

    def prepare(self, values: Mapping[str, object]) -> bytes:
        """Return the verifier of the password to enroll."""
        return self.hash(parse(PasswordInput, values).password)

    def begin(self, tx: Tx, subject: UUID, label: str, prepared: bytes) -> NewAuthenticator:  # noqa: ARG002 - the port's signature
        """Enroll; a password needs no confirmation."""
        added = self.enroll(tx, subject, prepared)
        return {"id": str(added.id), "status": added.status.value}

    def ahead(self, tx: Tx, subject: UUID) -> list[PlannedRead]:
        """Return what `load` reads."""
        return self._authenticators.ahead(tx, subject, self._decoy)

    def load(self, tx: Tx, subject: UUID) -> Verifier | None:
        """Read the password hash, or the decoy's."""
        return self._authenticators.verifier(tx, subject, self._decoy, TYPE)

    def verify(
        self,
        material: Verifier | None,
        presented: Presented[PasswordInput],
        now: datetime,  # noqa: ARG002 - a hash does not ask the time
    ) -> Match[None]:
        """Compare the password; a hash with older parameters is replaced."""
        if material is None:
            raise VerificationFailed("no_password")
        password = normalize(presented.values.password)
        encoded = material.secret.decode()
        try:
            self._hasher.verify(encoded, password)
            renewed = self._hasher.hash(password) if self._hasher.needs_rehash(encoded) else None
        except PasswordMismatch:
            raise VerificationFailed("password_mismatch") from None
        except HasherBusy:
            raise _busy() from None
        return Match(
            authenticator=material.authenticator,
            used=None,
            verifier=renewed.encode() if renewed else None,
        )

    def consume(self, tx: Tx, match: Match[None], now: datetime) -> None:  # noqa: ARG002 - the port's signature
        """Record the use."""
        self._authenticators.used(tx, match.authenticator, match.verifier)

    def pack_used(self, used: None) -> Json:  # noqa: ARG002 - the port's signature
        """Return None: a password is not used up."""
        return None

    def unpack_used(self, value: Json) -> None:
        """Return None, as `pack_used` does."""


def _busy() -> Unavailable:
    return Unavailable("overloaded", "Too many passwords are being checked.", 1)
