"""Normal forms of identifiers: equal normal forms are one account and one bucket."""

import re
import unicodedata
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

import idna
import phonenumbers
import precis_i18n

from service.domain.caller import Caller
from service.domain.errors import BadInput, Fault, Forbidden

NORMAL_FORM: Final = 2
"""Incremented when the rules below change any normal form; stored with each digest."""
ACTIVE: Final = "active"
DECOY: Final = "decoy"
ERASED: Final = "erased"
LIFTING: Final = "lift:suspension"
"""The act of lifting one's own suspension; an authenticator in its cool-down cannot do it."""
_LONGEST: Final = 254
_LONGEST_LOCAL: Final = 64
_AT: Final = {0xFF20: "@", 0xFE6B: "@"}
"""Full-width and small at signs, which people read as an at sign."""
_ATOM: Final = r"[^\s\"(),.:;<>@\[\\\]\x00-\x20\x7f]+"
_LOCAL: Final = re.compile(rf"{_ATOM}(\.{_ATOM})*")
_DATE: Final = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MINUS: Final = "\u2212"
_PHONE_LIKE: Final = re.compile(r"\(?\+? ?\(?[0-9][0-9 ()./-]{3,}")
_INTERNATIONAL: Final = re.compile(r"\(?\+[0-9 ()./-]+")


@dataclass(kw_only=True, frozen=True, slots=True)
class Account:
    """The data of a subject that other features may see; none of it is personal data."""

    id: UUID
    status: str
    segment: str
    client: UUID
    created_at: datetime
    first_login_at: datetime | None
    suspended: bool = False

    @property
    def usable(self) -> bool:
        """Whether the subject can ever sign in: it is neither the decoy nor erased."""
        return self.status == ACTIVE

    @property
    def may_sign_in(self) -> bool:
        """Whether the subject may sign in now."""
        return self.usable and not self.suspended


@dataclass(frozen=True, slots=True)
class IdentifierLookup:
    """The account found for an identifier, if any, and the name of its attempt counter.

    Args:
        account: The account; None if the identifier is unknown.
        counter: The name of the attempt counter; an unknown identifier has one too.
        digests: The digests of an e-mail address that may be unverified, to check later whether it
            still leads to the same subject; empty otherwise.
    """

    account: Account | None
    counter: str = field(repr=False)
    digests: tuple[tuple[int, bytes], ...] = field(default=(), repr=False)


class Lead(StrEnum):
    """How an identifier leads to a subject."""

    NOWHERE = "nowhere"
    CLAIM = "claim"
    """Allowed by policy: the address is unverified and no other subject claims it."""
    PROOF = "proof"


class IdentifierType(StrEnum):
    """The three kinds of identifier."""

    USERNAME = "username"
    EMAIL = "email"
    PHONE = "phone"


ADDRESSES: Final = (IdentifierType.EMAIL, IdentifierType.PHONE)
"""The kinds that can be verified by a code."""


def segment_of(caller: Caller, wanted: str | None) -> str:
    """Return the requested segment, or the caller's first one if none is requested.

    Raises:
        Forbidden: The caller does not serve the segment.
    """
    segment = wanted or caller.segments[0]
    if segment not in caller.segments:
        raise Forbidden("segment_not_allowed", "This client does not serve that segment.")
    return segment


def _refuse(field: str, code: str, detail: str) -> BadInput:
    return BadInput(Fault(f"/identifiers/{field}", code, detail))


def _email(text: str) -> str:
    local, at, domain = text.strip().translate(_AT).partition("@")
    try:
        if not at or any(_hidden(character) for character in domain):
            raise _no_address()
        # IDNA maps case itself: folded first, sharp s and final sigma would become other letters.
        name = idna.encode(domain, uts46=True).decode().removesuffix(".")
        local = str(precis_i18n.get_profile("UsernameCaseMapped").enforce(local))
    except UnicodeError:
        raise _no_address() from None
    # Mail programs decode an encoded word (RFC 2047), which could inject other headers.
    if (
        "=?" in local
        or not _LOCAL.fullmatch(local)
        or len(local.encode()) > _LONGEST_LOCAL
        or not name
    ):
        raise _no_address()
    return f"{local}@{name}"


def _no_address() -> BadInput:
    return _refuse("email", "invalid_email", "must be an address like name@example.com")


def _hidden(character: str) -> bool:
    # The two joiners are significant in some scripts, where IDNA checks them.
    return unicodedata.category(character) in {"Cc", "Cf"} and character not in "\u200c\u200d"


def _phone(text: str) -> str:
    dialed = _dialed(text)
    number = None
    if _INTERNATIONAL.fullmatch(dialed):
        try:
            number = phonenumbers.parse("+" + re.sub("[^0-9]", "", dialed), None)
        except phonenumbers.NumberParseException:
            number = None
    if number is None or not phonenumbers.is_possible_number(number):
        detail = "must be an international number like +4930123456, without an extension"
        raise _refuse("phone", "invalid_phone", detail)
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _dialed(text: str) -> str:
    """Return a phone number in ASCII, without invisible characters and with one kind of hyphen."""
    typed = text.lower() if text.isascii() else "".join(map(_dialed_as, text))
    return typed.strip().removeprefix("tel:").strip()


def _dialed_as(character: str) -> str:
    kind = unicodedata.category(character)
    if kind == "Cf":
        return ""
    if kind == "Nd":
        return str(unicodedata.decimal(character))
    if kind == "Pd" or character == _MINUS:
        return "-"
    if kind == "Zs":
        return " "
    return unicodedata.normalize("NFKC", character).lower()


def _username(text: str) -> str:
    if _kind(text) is not IdentifierType.USERNAME:
        raise _ambiguous()
    name = _enforced("UsernameCaseMapped", text)
    # Mapping width and composing characters may have produced an at sign or a phone number.
    if _kind(name) is not IdentifierType.USERNAME:
        raise _ambiguous()
    return name


def _ambiguous() -> BadInput:
    detail = "must not contain @ or look like a phone number"
    return _refuse("username", "ambiguous_username", detail)


def _enforced(profile: str, text: str) -> str:
    try:
        return str(precis_i18n.get_profile(profile).enforce(text.strip()))
    except UnicodeEncodeError:
        detail = "must be letters, digits and marks without spaces (RFC 8265)"
        raise _refuse("username", "invalid_username", detail) from None


_NORMALIZERS: Final = {
    IdentifierType.USERNAME: _username,
    IdentifierType.EMAIL: _email,
    IdentifierType.PHONE: _phone,
}


def normalize(field: IdentifierType, text: str) -> str:
    """Return the normal form of an identifier, which is compared, stored and sent to.

    Raises:
        BadInput: The text is not a valid identifier of this kind; the pointer names the field.
    """
    if not text or len(text) > _LONGEST:
        raise _length(field)
    normal = _NORMALIZERS[field](text)
    if len(normal) > _LONGEST:
        raise _length(field)
    return normal


def kept(field: IdentifierType, text: str) -> str:
    """Return the stored form of a valid identifier.

    An address is stored in its normal form; a username keeps the case in which it was chosen.
    """
    if field is IdentifierType.USERNAME:
        return _enforced("UsernameCasePreserved", text)
    return normalize(field, text)


def _length(field: IdentifierType) -> BadInput:
    return _refuse(field, "invalid_length", f"must have 1 to {_LONGEST} characters")


def _kind(text: str) -> IdentifierType:
    if "@" in text.translate(_AT):
        return IdentifierType.EMAIL
    return IdentifierType.PHONE if _PHONE_LIKE.fullmatch(_dialed(text)) else IdentifierType.USERNAME


def identify(typed: str) -> tuple[IdentifierType, str] | None:
    """Detect the kind of a typed identifier by its syntax alone.

    Returns:
        The kind and the normal form, or None if the text is not a valid identifier.
    """
    if len(typed) > _LONGEST:
        return None
    field = _kind(typed)
    try:
        return field, normalize(field, typed)
    except BadInput:
        return None


def born(text: str, today: date) -> None:
    """Check that a birth date is a valid date in the past; raises BadInput with its pointer."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or day >= today or not _DATE.fullmatch(text):
        detail = "must be a date in the past like 1990-12-31"
        raise BadInput(Fault("/profile/birthdate", "invalid_date", detail))
