"""The fourth floor: the factors of a login, and the policy documents that may ask for them."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from crypto import cores
from crypto.hashing import PasswordHasher
from crypto.opaque import new_token
from crypto.turns import HostTurns
from service.accounts.actions.accounts import Accounts
from service.app.core import Core
from service.app.identity import Identity
from service.app.risk import RiskFloor
from service.authenticators.enrolling import Enrolling
from service.authenticators.enrollment import AnyEnrollment
from service.authenticators.factor import AnyFactor
from service.domain.authenticator import HELP_DESK, Status
from service.domain.ids import DECOY
from service.factors.face.actions import FaceFactor, LivenessRequirement
from service.factors.face.engine_pool import EnginePool
from service.factors.face.model import Mode
from service.factors.face.scoring import FaceScores
from service.factors.help_desk.actions.factor import HelpDeskFactor
from service.factors.password.actions import PasswordFactor
from service.factors.recovery_codes.actions import CODES, RecoveryCodeFactor
from service.factors.totp.actions import TotpFactor
from service.factors.totp.model import CodeForm
from service.policy.actions.documents import Lives
from service.settings import Settings, shared_directory
from service.store.turns import take_start
from service.telemetry import logs

_NOBODY: Final = UUID(int=0)


@dataclass(kw_only=True, frozen=True)
class Factors:
    """The factors, alone and by name, and their enrollment."""

    password: PasswordFactor
    totp: TotpFactor
    codes: RecoveryCodeFactor
    face: FaceFactor
    scores: FaceScores
    factors: dict[str, AnyFactor]
    enrolling: Enrolling
    lives: Lives


def build_factors(
    core: Core, identity: Identity, risk: RiskFloor, *, hasher: PasswordHasher | None
) -> Factors:
    """Return the factors, and enroll those of the decoy.

    Args:
        core: The first floor.
        identity: The second floor.
        risk: The third floor.
        hasher: Hashes passwords; None for one with the parameters of the service.
    """
    settings = core.settings
    authenticators = identity.authenticators
    password = PasswordFactor(
        authenticators, hasher or _hasher(settings), DECOY, risk.behaviors.delete_for
    )
    totp = TotpFactor(
        authenticators,
        settings.totp_issuer or settings.service_name,
        DECOY,
        CodeForm(settings.totp_digits, settings.totp_period),
    )
    codes = RecoveryCodeFactor(authenticators, DECOY, settings.recovery_codes)
    face = _face(core, identity)
    enrolled = (password, totp, codes, face)
    factors: dict[str, AnyFactor] = {item.name: item for item in enrolled}
    factors |= {HELP_DESK: HelpDeskFactor(identity.recoveries)}
    enrollments: dict[str, AnyEnrollment] = {item.type: item for item in enrolled}
    _ensure_decoy(core, identity.accounts, password=password, totp=totp, codes=codes)
    return Factors(
        password=password,
        totp=totp,
        codes=codes,
        face=face,
        scores=FaceScores(
            database=core.store,
            accounts=identity.accounts,
            throttling=core.throttling,
            face=face,
            audit=core.audit,
        ),
        factors=factors,
        enrolling=Enrolling(
            database=core.store,
            accounts=identity.accounts,
            authenticators=authenticators,
            throttling=core.throttling,
            enrollments=enrollments,
            clock=core.clock,
        ),
        lives=Lives(frozenset(factors), core.audit, core.clock, settings),
    )


def _face(core: Core, identity: Identity) -> FaceFactor:
    accounts = identity.accounts
    return FaceFactor(
        authenticators=identity.authenticators,
        reader=EnginePool.of(core.settings, at_once=cores.count()),
        clock=core.clock,
        mode=Mode(core.settings.face_liveness),
        asked=LivenessRequirement(
            core.policies.liveness, lambda tx, subject: accounts.get(tx, subject).segment
        ),
    )


def _hasher(settings: Settings) -> PasswordHasher:
    """Return a hasher that shares its turns with the other workers of this server."""
    turns = settings.hash_slots or cores.count()
    if shared := shared_directory():
        try:
            return PasswordHasher(turns, host=HostTurns(shared, turns))
        except OSError as error:
            logs.get().warning("turns_not_shared", **logs.kind(error))
    return PasswordHasher(max(1, turns // settings.workers))


def _ensure_decoy(
    core: Core,
    accounts: Accounts,
    *,
    password: PasswordFactor,
    totp: TotpFactor,
    codes: RecoveryCodeFactor,
) -> None:
    with core.store.transaction(read=True) as tx:
        if accounts.known(tx, DECOY):
            return
    verifier = password.hash(new_token())
    with core.store.transaction() as tx:
        take_start(tx)
        if accounts.ensure_decoy(tx, _NOBODY, DECOY):
            password.enroll(tx, DECOY, verifier)
            totp.enroll(tx, DECOY, "decoy", status=Status.ACTIVE)
            codes.enroll(tx, DECOY, CODES)
