"""Enroll, confirm and check time-based codes."""

import io
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, NamedTuple
from uuid import UUID

import orjson
import pyotp
import segno
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from service.authenticators.actions import Authenticators
from service.authenticators.factor import Match, Presented
from service.authenticators.typed import TypedFactor
from service.domain.assurance import Kind
from service.domain.authenticator import Authenticator, Status, Verifier
from service.domain.clock import unix
from service.domain.codes import LONGEST, read_digits
from service.domain.errors import VerificationFailed
from service.domain.validation import parse
from service.factors.totp.model import (
    DIGITS,
    KEPT_STEPS,
    LONGEST_NAME,
    PERIOD,
    MatchedStep,
    match,
    next_in,
    read_name,
    shown_name,
)
from service.store.engine import Tx

TYPE: Final = "totp"


def _digits(typed: str) -> str:
    code = read_digits(typed, DIGITS)
    if code is None:
        raise ValueError(f"must be {DIGITS} digits")
    return code


class TotpInput(BaseModel):
    """The input of the action; spaces, hyphens and the digits of any script are read alike."""

    model_config = ConfigDict(extra="forbid")

    code: Annotated[str, Field(min_length=1, max_length=LONGEST), AfterValidator(_digits)]


class Named(BaseModel):
    """What a code generator is called, so that its owner tells it from another."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(max_length=LONGEST_NAME), AfterValidator(read_name)] | None = None


class TotpMaterial(NamedTuple):
    """What a code is compared with.

    Args:
        own: The verifiers of whoever is to be verified.
        spare: The decoy's, as often as one more could be: what matches them counts for nothing.
    """

    own: tuple[Verifier, ...]
    spare: tuple[Verifier, ...]


def _pack(secret: str, offset: int) -> bytes:
    return orjson.dumps({"secret": secret, "offset": offset})


class TotpFactor(TypedFactor):
    """The factor `totp`."""

    name = "totp"
    kind = Kind.POSSESSION
    counter = "other"
    amr: tuple[str, ...] = ("otp",)
    slow = False
    type = TYPE
    form = TotpInput

    def __init__(self, authenticators: Authenticators, issuer: str, decoy: UUID) -> None:
        self._authenticators = authenticators
        self._issuer = issuer
        self._decoy = decoy

    def enroll(
        self,
        tx: Tx,
        subject: UUID,
        label: str,
        *,
        status: Status = Status.PENDING,
        name: str | None = None,
    ) -> tuple[Authenticator, dict[str, Any]]:
        """Make a secret of 160 bits; return it as text, URI and picture, this once."""
        secret = pyotp.random_base32(32)
        added = self._authenticators.add(
            tx, subject, TYPE, _pack(secret, 0), status=status, name=name
        )
        totp = pyotp.TOTP(secret, digits=DIGITS, interval=PERIOD)
        uri = totp.provisioning_uri(name=shown_name(label), issuer_name=self._issuer)
        picture = io.BytesIO()
        segno.make(uri, error="m").save(picture, kind="svg", scale=4, xmldecl=False)
        return added, {"secret": secret, "otpauth_uri": uri, "qr_svg": picture.getvalue().decode()}

    def prepare(self, values: Mapping[str, Any]) -> str | None:
        """Return the name; the secret is made here."""
        return parse(Named, values).name

    def begin(self, tx: Tx, subject: UUID, label: str, prepared: str | None) -> dict[str, Any]:
        """Enroll, pending until a first code confirms that the secret arrived."""
        added, shown = self.enroll(tx, subject, label, name=prepared)
        return {"id": str(added.id), "name": prepared, "status": added.status.value} | shown

    def compare(self, pending: Verifier, values: Mapping[str, Any], now: datetime) -> Match:
        """Find the step of the first code."""
        return self.check(TotpMaterial((pending,), ()), Presented(self.parse(values)), now)

    def confirm(self, tx: Tx, pending: Verifier, match: Match) -> None:
        """Make it active; the first code counts as used from then on."""
        self._authenticators.confirm(tx, pending.subject, pending.authenticator, match.verifier)
        step: MatchedStep = match.used
        if not self._authenticators.use_step(tx, match.authenticator, step.number, step.newest):
            raise VerificationFailed("totp_step_used")

    def load(self, tx: Tx, subject: UUID) -> TotpMaterial:
        """Read the secrets, filled up with the decoy's."""
        return TotpMaterial(*self._authenticators.verifiers(tx, subject, self._decoy, TYPE))

    def check(self, material: TotpMaterial, presented: Presented, now: datetime) -> Match:
        """Find the generator and the step of the code.

        All are compared, and as many for somebody with one generator, with several, with none, and
        for nobody at all: `load` opens and this compares the most that one subject may have.
        """
        code, found = presented.values["code"], None
        for verifier in (*material.own, *material.spare):
            kept = orjson.loads(verifier.secret)
            step = match(kept["secret"], code, unix(now), kept["offset"])
            if step is not None and found is None and verifier in material.own:
                found = verifier, kept, step
        if found is None:
            raise VerificationFailed("totp_mismatch" if any(material) else "no_totp")
        verifier, kept, step = found
        moved = _pack(kept["secret"], step.offset) if step.offset != kept["offset"] else None
        return Match(verifier.authenticator, step, moved)

    def pack_used(self, used: Any) -> Any:  # noqa: ANN401 - the factor's own material
        """Return what a match uses up as a JSON value."""
        return list(used)

    def unpack_used(self, value: Any) -> Any:  # noqa: ANN401 - as above
        """Return what `pack_used` wrote."""
        return MatchedStep(*value)

    def consume(self, tx: Tx, match: Match, now: datetime) -> None:
        """Use the step up, once."""
        step: MatchedStep = match.used
        if not self._authenticators.use_step(tx, match.authenticator, step.number, step.newest):
            newest = self._authenticators.newest_step(tx, match.authenticator)
            left = next_in(step, newest, unix(now))
            raise VerificationFailed("totp_step_used", code_used=True, next_in=left)
        self._authenticators.used(tx, match.authenticator, match.verifier)

    def drop_used(self, tx: Tx, now: datetime) -> int:
        """Forget a page of steps that no clock allows any more; return how many."""
        return self._authenticators.drop_steps(tx, unix(now) // PERIOD - KEPT_STEPS)
