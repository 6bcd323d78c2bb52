"""Published keys, and the destruction of keys and data, as the routes show them."""

from collections.abc import Mapping
from typing import Annotated, cast

from pydantic import Field
from typing_extensions import TypedDict

from crypto.keyring import root_version_of
from service.domain.clock import rfc3339
from service.domain.formats import Id, Timestamp
from service.store.engine import AnyRow

_Part = Annotated[str, Field(description="A coordinate of the point, base64url.")]


class KekView(TypedDict("_KekClass", {"class": Annotated[str, Field(examples=["contact"])]})):
    """A key-encryption key."""

    version: Annotated[int, Field(ge=1, examples=[1])]
    status: Annotated[
        str,
        Field(description="`pending`, `active`, `retiring` or `retired`.", examples=["active"]),
    ]
    root_version: Annotated[int, Field(description="The root that it is under.", examples=[1])]
    created_at: Timestamp
    destroy_after: Annotated[
        Timestamp | None, Field(description="Null unless its destruction is scheduled.")
    ]
    held: Annotated[bool, Field(description="Whether this process holds it.")]


def kek_view(row: AnyRow, *, held: bool) -> KekView:
    """Return a key-encryption key by its row."""
    return {
        "class": row.key_class,
        "version": row.version,
        "status": row.status,
        "root_version": root_version_of(row.wrapped),
        "created_at": rfc3339(row.created_at),
        "destroy_after": rfc3339(row.destroy_after) if row.destroy_after else None,
        "held": held,
    }


class DestructionView(TypedDict):
    """When a KEK is destroyed, and what can open it until then."""

    destroyed_after: Timestamp
    erase_horizon: Annotated[
        Timestamp, Field(description="When no backup and no export can restore it any more.")
    ]
    root: Annotated[
        str,
        Field(
            description="The root that opens it in a backup; destroying that ends it at once.",
            examples=["root contact 1"],
        ),
    ]
    recovery_exports: Annotated[
        list[Id], Field(description="The recovery exports that contain it.")
    ]


class PublicKeyView(TypedDict):
    """A public key of an elliptic curve."""

    kty: Annotated[str, Field(examples=["EC"])]
    crv: Annotated[str, Field(examples=["P-256"])]
    x: _Part
    y: _Part
    kid: Annotated[str, Field(description="The thumbprint of the key (RFC 7638).")]
    use: Annotated[str, Field(examples=["sig"])]
    alg: Annotated[str, Field(examples=["ES256"])]


class KeySet(TypedDict):
    """The keys that verify tokens."""

    keys: list[PublicKeyView]


def published(jwk: Mapping[str, object]) -> PublicKeyView:
    """Return the stored public part of a key, as `SigningKey.public_jwk` made it."""
    return cast(PublicKeyView, dict(jwk))


class RecordKeyView(PublicKeyView):
    """A public key, and the period of the records that it signed."""

    valid_from: Timestamp
    valid_until: Annotated[Timestamp | None, Field(description="Null while the key signs.")]


class RecordKeySet(TypedDict):
    """The keys that verify records: certificates of erasure, checkpoints, reports."""

    keys: list[RecordKeyView]


class ErasureView(TypedDict):
    """An erasure, and the certificate of it."""

    id: Id
    subject: Id
    classes: Annotated[
        list[str],
        Field(
            description="The classes of data that were erased.", examples=[["contact", "factor"]]
        ),
    ]
    data_keys_destroyed: Annotated[int, Field(ge=0, examples=[6])]
    erased_at: Timestamp
    erase_horizon: Annotated[
        Timestamp, Field(description="When no backup can hold the destroyed keys any more.")
    ]
    certificate: Annotated[
        str, Field(description="A JWS over the other members, by a key of lamina-log-keys.")
    ]
