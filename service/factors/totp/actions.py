"""Enroll, confirm and check time-based one-time passwords."""

import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Final, NamedTuple, NotRequired, TypedDict, cast
from uuid import UUID

import orjson
import pyotp
import segno
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from service.authenticators.actions import Authenticators
from service.authenticators.enrollment import Enrollment
from service.authenticators.factor import Match, Presented
from service.authenticators.typed import TypedFactor
from service.authenticators.views import NewAuthenticator
from service.domain.assurance import Kind
from service.domain.authenticator import Authenticator, Status, Verifier
from service.domain.clock import unix
from service.domain.codes import LONGEST, read_digits
from service.domain.errors import VerificationFailed
from service.domain.json_values import Json
from service.domain.validation import parse
from service.factors.totp.model import (
    DIGITS,
    KEPT_STEPS,
    LONGEST_NAME,
    MOST_DIGITS,
    PERIOD,
    CodeForm,
    MatchedStep,
    match,
    next_in,
    read_name,
    shown_issuer,
    shown_name,
)
from service.store.ahead import PlannedRead
from service.store.engine import Tx

TYPE: Final = "totp"
_USUAL: Final = CodeForm()
_LATELY: Final = 120
"""Steps of an hour: far more than a step is kept and a turn of its task takes."""


def _digits(typed: str) -> str:
    # The form of the code does not say which length the generator of the person has.
    for length in range(DIGITS, MOST_DIGITS + 1):
        if (code := read_digits(typed, length)) is not None:
            return code
    raise ValueError(f"must be {DIGITS} digits, or as many as the app shows")


class TotpInput(BaseModel):
    """The input of the action; spaces, hyphens and the digits of any script are accepted."""

    model_config = ConfigDict(extra="forbid")

    code: Annotated[str, Field(min_length=1, max_length=LONGEST), AfterValidator(_digits)]


class Named(BaseModel):
    """The name of a code generator, by which its owner recognizes it."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(max_length=LONGEST_NAME), AfterValidator(read_name)] | None = None


class TotpMaterial(NamedTuple):
    """The verifiers that a code is compared with.

    Args:
        own: The subject's verifiers.
        spare: The decoy's, one for each that the subject lacks; a match with them counts for
            nothing.
    """

    own: tuple[Verifier, ...]
    spare: tuple[Verifier, ...]


class ShownSecret(TypedDict):
    """The secret of a new generator, as text, URI and QR code."""

    secret: str
    otpauth_uri: str
    qr_svg: str


class KeptSecret(TypedDict):
    """The stored verifier of a generator; an old one names no form of its codes."""

    secret: str
    offset: int
    digits: NotRequired[int]
    period: NotRequired[int]


def _pack(secret: str, offset: int, form: CodeForm) -> bytes:
    return orjson.dumps({"secret": secret, "offset": offset} | form._asdict())


def _form_of(kept: KeptSecret) -> CodeForm:
    """Return the form of a generator's codes; an old one names none and has the usual one."""
    return CodeForm(kept.get("digits", DIGITS), kept.get("period", PERIOD))


class TotpFactor(
    TypedFactor[TotpInput, TotpMaterial, MatchedStep], Enrollment[str | None, MatchedStep]
):
    """The factor `totp`."""

    name = "totp"
    kind = Kind.POSSESSION
    counter = "other"
    amr = ("otp",)
    slow = False
    type = TYPE
    confirmed = True
    form = TotpInput

    def __init__(
        self, authenticators: Authenticators, issuer: str, decoy: UUID, codes: CodeForm = _USUAL
    ) -> None:
        self._authenticators = authenticators
        self._issuer = shown_issuer(issuer)
        self._decoy = decoy
        self._codes = codes

    def enroll(
        self,
        tx: Tx,
        subject: UUID,
        label: str,
        *,
        status: Status = Status.PENDING,
        name: str | None = None,
    ) -> tuple[Authenticator, ShownSecret]:
        """Generate a secret of 160 bits; return it as text, URI and QR code, only this once."""
        secret = pyotp.random_base32(32)
        added = self._authenticators.add(
            tx, subject, TYPE, _pack(secret, 0, self._codes), status=status, name=name
        )
        totp = pyotp.TOTP(secret, digits=self._codes.digits, interval=self._codes.period)
        uri = totp.provisioning_uri(name=shown_name(label), issuer_name=self._issuer)
        picture = io.BytesIO()
        segno.make(uri, error="m").save(picture, kind="svg", scale=4, xmldecl=False)
        return added, {"secret": secret, "otpauth_uri": uri, "qr_svg": picture.getvalue().decode()}

    def prepare(self, values: Mapping[str, object]) -> str | None:
        """Return the name; the secret is generated here."""
        return parse(Named, values).name

    def begin(self, tx: Tx, subject: UUID, label: str, prepared: str | None) -> NewAuthenticator:
        """Enroll a pending generator; a first code confirms that its secret arrived."""
        added, shown = self.enroll(tx, subject, label, name=prepared)
        return {
            "id": str(added.id),
            "name": prepared,
            "status": added.status.value,
            "secret": shown["secret"],
            "otpauth_uri": shown["otpauth_uri"],
            "qr_svg": shown["qr_svg"],
        }

    def counted_pending(self, pending: Verifier) -> str:  # noqa: ARG002 - the port's signature
        """Return the counter of a flow's codes, which those of a confirmation share."""
        return self.counter

    def compare(
        self, pending: Verifier, values: Mapping[str, object], now: datetime
    ) -> Match[MatchedStep]:
        """Find the step of the first code."""
        return self.verify(TotpMaterial((pending,), ()), Presented(self.parse(values)), now)

    def confirm(self, tx: Tx, pending: Verifier, match: Match[MatchedStep]) -> None:
        """Activate the generator; its first code counts as used."""
        self._authenticators.confirm(tx, pending.subject, pending.authenticator, match.verifier)
        if not self._use(tx, match.authenticator, match.used):
            raise VerificationFailed("totp_step_used")

    def ahead(self, tx: Tx, subject: UUID) -> list[PlannedRead]:
        """Return what `load` reads."""
        return self._authenticators.ahead(tx, subject, self._decoy)

    def load(self, tx: Tx, subject: UUID) -> TotpMaterial:
        """Read the subject's secrets, and the decoy's for each one missing."""
        return TotpMaterial(*self._authenticators.verifiers(tx, subject, self._decoy, TYPE))

    def verify(
        self, material: TotpMaterial, presented: Presented[TotpInput], now: datetime
    ) -> Match[MatchedStep]:
        """Find the generator and the step of the code.

        The number of comparisons is the same whether the subject has several generators, one or
        none, or does not exist: `load` opens and this compares the maximum per subject.
        """
        code = presented.values.code
        found = None
        for verifier in (*material.own, *material.spare):
            kept: KeptSecret = orjson.loads(verifier.secret)
            step = match(
                kept["secret"],
                code=code,
                unix_now=unix(now),
                offset=kept["offset"],
                form=_form_of(kept),
            )
            if step is not None and found is None and verifier in material.own:
                found = verifier, kept, step
        if found is None:
            raise VerificationFailed("totp_mismatch" if any(material) else "no_totp")
        verifier, kept, step = found
        moved = None
        if step.offset != kept["offset"]:
            moved = _pack(kept["secret"], step.offset, _form_of(kept))
        return Match(authenticator=verifier.authenticator, used=step, verifier=moved)

    def pack_used(self, used: MatchedStep) -> Json:
        """Return the matched step as a JSON value."""
        return list(used)

    def unpack_used(self, value: Json) -> MatchedStep:
        """Return the matched step from its JSON value."""
        # The state of a flow is sealed, so these are the numbers that `pack_used` wrote.
        return MatchedStep(*cast("Sequence[int]", value))

    def consume(self, tx: Tx, match: Match[MatchedStep], now: datetime) -> None:
        """Mark the step as used; raises VerificationFailed if it was used before."""
        step = match.used
        if not self._use(tx, match.authenticator, step):
            newest = self._authenticators.newest_step(tx, match.authenticator)
            left = next_in(step, newest, unix(now))
            raise VerificationFailed("totp_step_used", code_used=True, next_in=left)
        self._authenticators.used(tx, match.authenticator, match.verifier)

    def _use(self, tx: Tx, authenticator: UUID, step: MatchedStep) -> bool:
        return self._authenticators.use_step(tx, authenticator, step.stored, step.newest_stored)

    def drop_used(self, tx: Tx, now: datetime) -> int:
        """Delete a page of steps older than any allowed clock drift; return how many.

        It looks at authenticators that were used lately: only a newer step ends an older one.
        """
        present = unix(now) // PERIOD
        return self._authenticators.drop_steps(tx, present - KEPT_STEPS, present - _LATELY)

    def sweep_used(self, tx: Tx, now: datetime) -> int:
        """Delete a page of such steps among those of all authenticators; return how many."""
        return self._authenticators.drop_steps(tx, unix(now) // PERIOD - KEPT_STEPS)
