"""Encrypted columns: assigned as plaintext, sealed before the flush, opened when read.

The plaintext never reaches the engine: the column type accepts sealed bytes only, and until the
flush an assigned value is kept in an object without a repr that refuses to be pickled.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, NoReturn, Protocol, Self, TypeVar, cast, overload
from uuid import UUID

from sqlalchemy import Dialect, LargeBinary
from sqlalchemy.orm import Mapped, Session, mapped_column
from sqlalchemy.orm.attributes import get_history, instance_state
from sqlalchemy.types import TypeDecorator

from crypto.envelope import DataKey, looks_sealed, sealed_generation
from crypto.fields import NO_EXTRA, FieldContext, Owner, extra_part, place_of
from crypto.rows import RowKey
from service.store.ahead import PlannedRead

T = TypeVar("T")
_SEALER: Final = "lamina_sealer"
_OPENED: Final = "lamina_opened"
_GENERATION: Final = slice(2, 4)


class SealedRow(Protocol):
    """The members of a row that its sealed fields are bound to."""

    id: Mapped[UUID]

    def field_owner(self) -> Owner:
        """Return the owner of the data key."""


KeyName = tuple[str, bytes]
"""The cache key of a data key: its class, and owner and generation as stored in a cell."""
Peers = Callable[[], Iterable[Owner]]
"""Returns the owners of cells likely to be opened next, so that their keys load together."""


class FieldSealer(Protocol):
    """Finds the data keys that seal and open cells."""

    def begin(self, session: Session) -> None:
        """Prepare for a transaction."""

    def ended(self, info: Mapping[str, object]) -> None:
        """Handle the opened fields of a transaction after its end.

        Args:
            info: The `session.info` of the transaction.
        """

    def newest_key(self, session: Session, key_class: str, owner: Owner) -> DataKey:
        """Return the key that currently seals an owner's cells."""

    def key(
        self, session: Session, *, key_class: str, owner: Owner, generation: int, peers: Peers
    ) -> DataKey:
        """Return the key that a cell was sealed under; raises OpenError or KeyUnavailable.

        If it must be loaded, the keys of `peers` are loaded with it in one statement.
        """

    def ahead(self, owners: Iterable[Owner]) -> list[PlannedRead]:
        """Return what reads the data keys of subjects, to read them with other rows."""

    def row_key(self, session: Session, generation: int | None) -> RowKey:
        """Return the MAC key of rows: of a generation, or the newest.

        Raises:
            OpenError: The generation does not exist.
            KeyUnavailable: This process does not hold its KEK.
        """

    def purpose_key(self, session: Session, purpose: str) -> bytes:
        """Return a 32-byte key for one purpose of the service."""


class Unsealed:
    """A plaintext that waits for the flush."""

    __slots__ = ("plaintext",)

    def __init__(self, plaintext: bytes) -> None:
        self.plaintext = plaintext

    def __repr__(self) -> str:
        return "Unsealed()"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an unsealed value is never pickled")


class SealedType(TypeDecorator[bytes]):
    """Bytes that start like a sealed field; anything else is refused."""

    impl = LargeBinary
    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> None:
        """Return the value of the driver: both return bytes, and a copy would double the cost."""

    def process_bind_param(self, value: Any, dialect: Dialect) -> bytes | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Accept sealed bytes only."""
        if value is None:
            return None
        if not isinstance(value, bytes) or not looks_sealed(value):
            raise TypeError("only a sealed value can be stored or compared in this column")
        return value


@dataclass(frozen=True, slots=True)
class ClassBy:
    """A key class that depends on another column of the row.

    Args:
        column: The name of that column.
        special: The key class for some of its values.
        default: The key class for all other values.
    """

    column: str
    special: Mapping[str, str]
    default: str

    def of(self, row: object) -> str:
        """Return the key class of a row."""
        return self.special.get(getattr(row, self.column), self.default)


class Encrypted(Generic[T]):
    """The descriptor of an encrypted field, created by `encrypted_text` and its siblings."""

    def __init__(
        self,
        key_class: str | ClassBy,
        encode: Callable[[T], bytes],
        decode: Callable[[bytes], T],
        bound: tuple[str, ...],
        *,
        nullable: bool,
    ) -> None:
        self._key_class = key_class
        self._fixed = key_class if isinstance(key_class, str) else None
        self._encode = encode
        self._decode = decode
        self.bound = bound
        self._nullable = nullable
        self.name = ""
        self.column = ""
        self.place = b""

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self.name = name
        self.column = f"sealed_{name}"
        self.place = place_of(owner.__tablename__, name)
        setattr(owner, self.column, mapped_column(name, SealedType(), nullable=self._nullable))
        # A new list per class: a table declares its own fields only.
        owner.__encrypted__ = [*vars(owner).get("__encrypted__", ()), self]

    @overload
    def __get__(self, row: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(self, row: object, owner: type[Any]) -> T: ...
    def __get__(self, row: Any, owner: type[Any]) -> Self | T:
        if row is None:
            return self
        raw = row.__dict__.get(self.column) or getattr(row, self.column)
        if type(raw) is bytes:
            return self._decode(self._open(row, raw, self.adds(row) if self.bound else NO_EXTRA))
        return self._decode(raw.plaintext) if raw is not None else cast("T", None)

    def __set__(self, row: object, value: T) -> None:
        setattr(row, self.column, None if value is None else Unsealed(self._encode(value)))

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError(f"{self.name} is sealed: look it up through its blind index")

    __hash__ = None  # type: ignore[assignment]  # not comparable, so not hashable

    def key_class(self, row: object) -> str:
        """Return the key class of a row's value."""
        return self._key_class if isinstance(self._key_class, str) else self._key_class.of(row)

    @property
    def varies(self) -> ClassBy | None:
        """Return the rule for the key class, if it differs between rows."""
        return self._key_class if isinstance(self._key_class, ClassBy) else None

    def may_be(self, key_class: str) -> bool:
        """Return whether a value of this column can have a key class."""
        return key_class in self.classes()

    def classes(self) -> frozenset[str]:
        """Return the key classes that values of this column may have."""
        if isinstance(self._key_class, str):
            return frozenset((self._key_class,))
        return frozenset((self._key_class.default, *self._key_class.special.values()))

    def seal_pending(self, session: Session, row: Any) -> None:
        """Seal an assigned value; re-seal one bound to columns that changed."""
        raw = getattr(row, self.column)
        if isinstance(raw, Unsealed):
            plaintext = raw.plaintext
        elif raw is not None and any(get_history(row, name).has_changes() for name in self.bound):
            plaintext = self._open(row, raw, extra_part(self._former(row)))
        else:
            return
        sealer = cast("FieldSealer", session.info[_SEALER])
        key = sealer.newest_key(session, self.key_class(row), row.field_owner())
        sealed = key.seal_cell(plaintext, self.place, row.id.bytes, self.adds(row))
        setattr(row, self.column, sealed)

    def opened(self, session: Session, row: Any, owner: Owner) -> T:
        """Return the value of a row that was read without its object; raises OpenError.

        Args:
            session: The transaction.
            row: The sealed column, the id and the bound columns, by name.
            owner: The owner of the data key.
        """
        raw: bytes | None = getattr(row, self.name)
        if raw is None:
            return cast("T", None)
        key = sealer_of(session).key(
            session,
            key_class=self.key_class(row),
            owner=owner,
            generation=sealed_generation(raw),
            peers=tuple,
        )
        plain: bytes = key.open_cell(raw, self.place, row.id.bytes, self.adds(row))
        return self._decode(plain)

    def sealed(self, session: Session, row: Any, owner: Owner, value: T) -> bytes:
        """Return the cell for a value of a row that is written without its object.

        Args:
            session: The transaction.
            row: The id and the bound columns, by name.
            owner: The owner of the data key.
            value: The value.
        """
        key = sealer_of(session).newest_key(session, self.key_class(row), owner)
        return key.seal_cell(self._encode(value), self.place, row.id.bytes, self.adds(row))

    def _open(self, row: Any, raw: bytes, extra: bytes) -> bytes:
        session = instance_state(row).session
        if session is None:
            raise RuntimeError(f"{self.name} is sealed: read it inside the transaction")
        owner: Owner = row.field_owner()
        name = (self._fixed or self.key_class(row), owner.to_bytes() + raw[_GENERATION])
        key = session.info[_OPENED].get(name) or self._find(session, row, raw, owner)
        plain: bytes = key.open_cell(raw, self.place, row.id.bytes, extra)
        return plain

    def _find(self, session: Session, row: Any, raw: bytes, owner: Owner) -> DataKey:
        def peers() -> Iterator[Owner]:
            # Rows of a result are read one by one, so the keys of all their owners are loaded at
            # once.
            for other in session.identity_map.values():
                if type(other) is type(row) and not instance_state(other).expired:
                    peer = cast("SealedRow", other).field_owner()
                    if peer.kind is owner.kind:
                        yield peer

        sealer = cast("FieldSealer", session.info[_SEALER])
        return sealer.key(
            session,
            key_class=self.key_class(row),
            owner=owner,
            generation=sealed_generation(raw),
            peers=peers,
        )

    def adds(self, row: object) -> bytes:
        """Return the row's extra part of the associated data, encoded."""
        if not self.bound:
            return NO_EXTRA
        return extra_part("|".join(str(getattr(row, name)) for name in self.bound).encode())

    def _former(self, row: object) -> bytes:
        parts = []
        for name in self.bound:
            history = get_history(row, name)
            parts.append(str(history.deleted[0] if history.deleted else getattr(row, name)))
        return "|".join(parts).encode()


def encrypted_text(key_class: str | ClassBy, *, bound: tuple[str, ...] = ()) -> Encrypted[str]:
    """Declare required text; a change of a `bound` column re-seals it."""
    return Encrypted(key_class, str.encode, bytes.decode, bound, nullable=False)


def encrypted_optional(
    key_class: str | ClassBy, *, bound: tuple[str, ...] = ()
) -> Encrypted[str | None]:
    """Declare optional text."""
    return Encrypted(
        key_class, lambda value: (value or "").encode(), bytes.decode, bound, nullable=True
    )


def encrypted_bytes(key_class: str | ClassBy, *, bound: tuple[str, ...] = ()) -> Encrypted[bytes]:
    """Declare required bytes."""
    return Encrypted(key_class, bytes, bytes, bound, nullable=False)


def encrypted_optional_bytes(
    key_class: str | ClassBy, *, bound: tuple[str, ...] = ()
) -> Encrypted[bytes | None]:
    """Declare optional bytes."""
    return Encrypted(key_class, lambda value: value or b"", bytes, bound, nullable=True)


def seal_before_flush(session: Session, _context: object, _instances: object) -> None:
    """Handle `before_flush`: no plaintext is left when SQL is compiled."""
    for row in (*session.new, *session.dirty):
        for field in getattr(row, "__encrypted__", ()):
            field.seal_pending(session, row)


def seal_value(session: Session, key_class: str, context: FieldContext, plaintext: bytes) -> bytes:
    """Seal a cell that is written without an object of its row."""
    sealer = cast("FieldSealer", session.info[_SEALER])
    return sealer.newest_key(session, key_class, context.owner).seal(plaintext, context)


def open_value(session: Session, key_class: str, context: FieldContext, sealed: bytes) -> bytes:
    """Open a cell that was read without an object of its row; raises OpenError."""
    sealer = cast("FieldSealer", session.info[_SEALER])
    key = sealer.key(
        session,
        key_class=key_class,
        owner=context.owner,
        generation=sealed_generation(sealed),
        peers=tuple,
    )
    return key.open(sealed, context)


def sealer_of(session: Session) -> FieldSealer:
    """Return the holder of the keys of a transaction."""
    return cast("FieldSealer", session.info[_SEALER])


def use_sealer(session: Session, sealer: FieldSealer) -> None:
    """Set the keys of a session."""
    session.info[_SEALER] = sealer
    session.info[_OPENED] = {}


def opened_keys(session: Session) -> dict[KeyName, DataKey]:
    """Return the mutable map of unwrapped data keys of a transaction."""
    return cast("dict[KeyName, DataKey]", session.info[_OPENED])


def data_key_name(key_class: str, owner: Owner, generation: int) -> KeyName:
    """Return the cache key of a data key."""
    return key_class, owner.to_bytes() + generation.to_bytes(2, "big")
