"""Normal forms of identifiers: what normalizes together is one account and one bucket."""

import re
import unicodedata
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

import idna
import phonenumbers
import precis_i18n

from service.domain.errors import BadInput, Fault

NORMAL_FORM: Final = 1
ACTIVE: Final = "active"
DECOY: Final = "decoy"
ERASED: Final = "erased"
LIFTING: Final = "lift:suspension"
"""The act by which somebody lifts a suspension of their own; no young authenticator may."""
_LONGEST: Final = 254
_EMAIL: Final = re.compile(r"[^@\s\x00-\x1f]{1,64}@[^@\s\x00-\x1f]{1,253}")
_PHONE_LIKE: Final = re.compile(r"\+?[0-9][0-9 ()./-]{3,}")


@dataclass(frozen=True, slots=True)
class Account:
    """What other features may know of a subject; nothing of it is personal data."""

    id: UUID
    status: str
    segment: str
    client: UUID
    created_at: datetime
    first_login_at: datetime | None
    suspended: bool = False

    @property
    def usable(self) -> bool:
        """Whether this subject is one that signs in at all."""
        return self.status == ACTIVE

    @property
    def may_sign_in(self) -> bool:
        """Whether it may do so now."""
        return self.usable and not self.suspended


@dataclass(frozen=True, slots=True)
class Found:
    """Whom an identifier leads to, and the name of the attempt counter either way."""

    account: Account | None
    counter: str = field(repr=False)


class Field(StrEnum):
    """The three kinds of identifier."""

    USERNAME = "username"
    EMAIL = "email"
    PHONE = "phone"


def _refuse(field: str, code: str, detail: str) -> BadInput:
    return BadInput(Fault(f"/identifiers/{field}", code, detail))


def _email(text: str) -> str:
    value = unicodedata.normalize("NFKC", text).strip()
    if not _EMAIL.fullmatch(value):
        raise _refuse("email", "invalid_email", "must be an address like name@example.com")
    local, domain = value.rsplit("@", 1)
    try:
        ascii_domain = idna.encode(domain.casefold(), uts46=True).decode()
    except idna.IDNAError:
        raise _refuse("email", "invalid_email", "the domain is not a valid name") from None
    return f"{local.casefold()}@{ascii_domain}"


def _phone(text: str) -> str:
    try:
        number = phonenumbers.parse(text, None)
    except phonenumbers.NumberParseException:
        number = None
    if number is None or not phonenumbers.is_possible_number(number):
        raise _refuse("phone", "invalid_phone", "must be an international number like +4930123456")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _username(text: str) -> str:
    if "@" in text or _PHONE_LIKE.fullmatch(text.strip()):
        detail = "must not contain @ nor read as a phone number"
        raise _refuse("username", "ambiguous_username", detail)
    try:
        return str(precis_i18n.get_profile("UsernameCaseMapped").enforce(text))
    except UnicodeEncodeError:
        detail = "must be letters, digits and marks without spaces (RFC 8265)"
        raise _refuse("username", "invalid_username", detail) from None


_NORMALIZERS: Final = {Field.USERNAME: _username, Field.EMAIL: _email, Field.PHONE: _phone}


def normalize(field: Field, text: str) -> str:
    """Return the normal form.

    Raises:
        BadInput: The text is no identifier of this kind; the pointer names the field.
    """
    if not text or len(text) > _LONGEST:
        raise _refuse(field, "invalid_length", f"must have 1 to {_LONGEST} characters")
    return _NORMALIZERS[field](text)


def identify(typed: str) -> tuple[Field, str] | None:
    """Tell which kind of identifier was typed, by its syntax alone.

    Returns:
        The kind and the normal form, or None when it can be no identifier at all.
    """
    field = Field.USERNAME
    if "@" in typed:
        field = Field.EMAIL
    elif _PHONE_LIKE.fullmatch(typed.strip()):
        field = Field.PHONE
    try:
        return field, normalize(field, typed)
    except BadInput:
        return None
