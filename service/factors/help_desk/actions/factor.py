"""Check a recovery's code: 80 random bits, sent by e-mail, keyed digest, one use."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from crypto import opaque
from service.authenticators.factor import Match, Presented
from service.authenticators.typed import TypedFactor
from service.domain.assurance import Kind
from service.domain.authenticator import HELP_DESK
from service.domain.codes import LONGEST, read_code
from service.domain.errors import VerificationFailed
from service.domain.ids import DECOY
from service.domain.json_values import Json
from service.factors.help_desk import store
from service.factors.help_desk.actions.recoveries import Recoveries, code_digester
from service.store.engine import Tx

_LENGTH: Final = 16
_NONE: Final = bytes(32)


def _characters(typed: str) -> str:
    try:
        code = opaque.normalize_code(read_code(typed) or "")
    except ValueError:
        code = ""
    if len(code) != _LENGTH:
        raise ValueError(f"must be the {_LENGTH} letters and digits that were sent")
    return code


class HelpDeskInput(BaseModel):
    """The input of the action; case, separators and look-alike characters do not matter."""

    model_config = ConfigDict(extra="forbid")

    code: Annotated[str, Field(min_length=1, max_length=LONGEST), AfterValidator(_characters)]


@dataclass(frozen=True, slots=True)
class HelpDeskMaterial:
    """The digest that a code is compared with; a decoy's if there is no recovery."""

    number: UUID | None
    digest: bytes = field(repr=False)
    digested: Callable[[str], bytes] = field(repr=False)


class HelpDeskFactor(TypedFactor[HelpDeskInput, HelpDeskMaterial, None]):
    """The factor `help_desk`, offered only in recovery flows, and there for every identifier."""

    name = HELP_DESK
    kind = Kind.POSSESSION
    counter = "other"
    amr = ()
    slow = False
    form = HelpDeskInput

    def __init__(self, recoveries: Recoveries) -> None:
        self._recoveries = recoveries

    def load(self, tx: Tx, subject: UUID) -> HelpDeskMaterial:
        """Read the digest of the code sent to a subject; without one the work is the same."""
        found = store.sent(tx, subject)
        if found is None:
            return HelpDeskMaterial(None, _NONE, code_digester(tx, DECOY, subject))
        digested = code_digester(tx, found.number, subject)
        return HelpDeskMaterial(found.number, found.digest or _NONE, digested)

    def verify(
        self,
        material: HelpDeskMaterial,
        presented: Presented[HelpDeskInput],
        now: datetime,  # noqa: ARG002 - whether it is over, its use says
    ) -> Match[None]:
        """Compare the code."""
        same = opaque.equal(material.digest, material.digested(presented.values.code))
        if material.number is None or not same:
            raise VerificationFailed("help_desk_mismatch" if material.number else "help_desk_none")
        return Match(authenticator=material.number, used=None)

    def consume(self, tx: Tx, match: Match[None], now: datetime) -> None:  # noqa: ARG002 - the port's signature
        """Mark the code as used; raises VerificationFailed if it was used before."""
        self._recoveries.use(tx, match.authenticator)

    def pack_used(self, used: None) -> Json:  # noqa: ARG002 - the port's signature
        """Return None: the id of the recovery says which code was used."""
        return None

    def unpack_used(self, value: Json) -> None:
        """Return None, as `pack_used` does."""
