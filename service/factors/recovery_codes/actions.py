"""Generate, check and use recovery codes: 80 random bits, sealed digests, one use each."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from crypto import opaque
from service.authenticators.actions import Authenticators
from service.authenticators.enrollment import Enrollment
from service.authenticators.factor import Match, Presented
from service.authenticators.typed import Nothing, TypedFactor
from service.authenticators.views import NewAuthenticator
from service.domain.assurance import Kind
from service.domain.authenticator import Authenticator, Status
from service.domain.codes import LONGEST, read_code
from service.domain.errors import VerificationFailed
from service.domain.json_values import Json
from service.domain.validation import parse
from service.store.engine import Tx

TYPE: Final = "recovery_codes"
CODES: Final = 10
_SHORTEST: Final = 8
_PURPOSE: Final = "recovery-code"
CodeSet = tuple[UUID, list[tuple[UUID, bytes]]]
"""A set of codes: its id, and the id and digest of each unused code."""


def _characters(typed: str) -> str:
    try:
        code = opaque.normalize_code(read_code(typed) or "")
    except ValueError:
        code = ""
    if len(code) < _SHORTEST:
        raise ValueError("must be the letters and digits of a recovery code")
    return code


class RecoveryCodeInput(BaseModel):
    """The input of the action; case, separators and look-alike characters do not matter."""

    model_config = ConfigDict(extra="forbid")

    code: Annotated[str, Field(min_length=1, max_length=LONGEST), AfterValidator(_characters)]


class RecoveryCodeFactor(
    TypedFactor[RecoveryCodeInput, CodeSet | None, UUID], Enrollment[None, UUID]
):
    """The factor `recovery_code`."""

    name = "recovery_code"
    kind = Kind.POSSESSION
    counter = "other"
    amr = ("otp",)
    slow = False
    type = TYPE
    form = RecoveryCodeInput

    def __init__(self, authenticators: Authenticators, decoy: UUID, count: int = CODES) -> None:
        self._authenticators = authenticators
        self._decoy = decoy
        self._count = count

    def enroll(
        self, tx: Tx, subject: UUID, count: int | None = None
    ) -> tuple[Authenticator, list[str]]:
        """Generate codes, which replace all earlier ones; they are shown only this once."""
        codes = [opaque.new_code() for _ in range(count or self._count)]
        noted = str(len(codes)).encode()
        added = self._authenticators.add(tx, subject, TYPE, noted, status=Status.ACTIVE)
        digests = [opaque.digest(opaque.normalize_code(code), _PURPOSE) for code in codes]
        self._authenticators.add_codes(tx, added, digests)
        return added, codes

    def prepare(self, values: Mapping[str, object]) -> None:
        """Reject any input: the codes are generated here."""
        parse(Nothing, values)

    def begin(self, tx: Tx, subject: UUID, label: str, prepared: None) -> NewAuthenticator:  # noqa: ARG002 - the port's signature
        """Enroll; the codes are shown only this once."""
        added, codes = self.enroll(tx, subject)
        return {"id": str(added.id), "status": added.status.value, "codes": codes}

    def load(self, tx: Tx, subject: UUID) -> CodeSet | None:
        """Read the unused digests, or the decoy's."""
        return self._authenticators.codes(tx, subject, decoy=self._decoy, kind=TYPE, most=CODES)

    def verify(
        self,
        material: CodeSet | None,
        presented: Presented[RecoveryCodeInput],
        now: datetime,  # noqa: ARG002 - codes do not age
    ) -> Match[UUID]:
        """Find the code among the unused ones; all are compared."""
        try:
            typed = opaque.normalize_code(presented.values.code)
        except ValueError:
            raise VerificationFailed("recovery_code_malformed") from None
        authenticator, codes = material or (None, [])
        wanted = opaque.digest(typed, _PURPOSE)
        found = [code for code, digest in codes if opaque.equal(digest, wanted)]
        if authenticator is None or not found:
            raise VerificationFailed("recovery_code_mismatch")
        return Match(authenticator=authenticator, used=found[0])

    def pack_used(self, used: UUID) -> Json:
        """Return the id of the matched code as a JSON value."""
        return str(used)

    def unpack_used(self, value: Json) -> UUID:
        """Return the id of the matched code from its JSON value."""
        return UUID(str(value))

    def consume(self, tx: Tx, match: Match[UUID], now: datetime) -> None:  # noqa: ARG002 - the port's signature
        """Mark the code as used; raises VerificationFailed if it was used before."""
        if not self._authenticators.use_code(tx, match.used):
            raise VerificationFailed("recovery_code_used")
        self._authenticators.used(tx, match.authenticator)
