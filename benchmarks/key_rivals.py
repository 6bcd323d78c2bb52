"""One value opened by us and by what people use instead, in turns within every round."""

import statistics
import sys
import time
import uuid
from collections.abc import Callable

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from crypto import envelope
from crypto.fields import Owner, OwnerKind, place_of
from crypto.keyring import KeyEncryptionKey

SIZES = (20, 200)
CALLS = 2000
SLOW = 20
RAW, WARM, COLD, UNWRAP = "raw AESGCM", "lamina, warm", "lamina, cold", "unwrap of a data key alone"
Opening = Callable[[], object]
Measure = dict[str, float]


def _time(act: Opening, calls: int) -> float:
    """Return CPU microseconds a call."""
    begun = time.process_time()
    for _ in range(calls):
        act()
    return (time.process_time() - begun) / calls * 1e6


def _ours(plain: bytes) -> dict[str, Opening]:
    owner, row = Owner(OwnerKind.SUBJECT, uuid.uuid4()), uuid.uuid4()
    kek = KeyEncryptionKey("contact", 1, b"k" * 32)
    wrapped, key = envelope.create_data_key(kek, owner)
    place = place_of("subject", "email")
    sealed = key.seal_cell(plain, place, row.bytes)
    nonce, label = wrapped[9:33], wrapped[:9] + kek.label + owner.to_bytes() + wrapped[-32:]

    def cold() -> bytes:
        return envelope.open_data_key(kek, owner, wrapped).open_cell(sealed, place, row.bytes)

    return {
        WARM: lambda: key.open_cell(sealed, place, row.bytes),
        COLD: cold,
        UNWRAP: lambda: kek.cipher.decrypt(nonce, wrapped[33:-32], label),
    }


def contenders(size: int) -> dict[str, tuple[Opening, int]]:
    """Return one call of each contender that opens a value of a size, and how often to call it."""
    plain = b"x" * size
    raw, nonce, associated = AESGCM(b"r" * 32), b"n" * 12, b"a" * 69
    raw_sealed = raw.encrypt(nonce, plain, associated)
    fernet = Fernet(Fernet.generate_key())
    token = fernet.encrypt(plain)
    quick: dict[str, Opening] = {
        RAW: lambda: raw.decrypt(nonce, raw_sealed, associated),
        **_ours(plain),
        "Fernet": lambda: fernet.decrypt(token),
    }
    slow: dict[str, Opening] = {}
    for name, make, into in (
        ("Tink", _tink, quick),
        ("sqlalchemy-utils", _sqlalchemy_utils, slow),
        ("aws-encryption-sdk", _aws, slow),
    ):
        try:
            into[name] = make(plain)
        except ImportError:
            print(f"{name} is not installed (make .venv/.bench): left out", file=sys.stderr)
    calls = {name: (act, CALLS) for name, act in quick.items()}
    return calls | {name: (act, CALLS // SLOW) for name, act in slow.items()}


def _tink(plain: bytes) -> Opening:
    import tink  # noqa: PLC0415 - a rival
    from tink import aead  # noqa: PLC0415 - a rival

    aead.register()
    primitive = tink.new_keyset_handle(aead.aead_key_templates.AES256_GCM).primitive(aead.Aead)
    boxed = primitive.encrypt(plain, b"a" * 69)
    return lambda: primitive.decrypt(boxed, b"a" * 69)


def _sqlalchemy_utils(plain: bytes) -> Opening:
    from sqlalchemy import String  # noqa: PLC0415 - with the rival
    from sqlalchemy_utils import StringEncryptedType  # noqa: PLC0415 - a rival
    from sqlalchemy_utils.types.encrypted.encrypted_type import AesGcmEngine  # noqa: PLC0415

    column = StringEncryptedType(String, "secret", AesGcmEngine)
    stored = column.process_bind_param(plain.decode(), None)
    return lambda: column.process_result_value(stored, None)


def _aws(plain: bytes) -> Opening:
    import aws_encryption_sdk as sdk  # noqa: PLC0415 - a rival
    from aws_encryption_sdk import identifiers  # noqa: PLC0415 - a rival
    from aws_encryption_sdk.internal.crypto.wrapping_keys import WrappingKey  # noqa: PLC0415
    from aws_encryption_sdk.key_providers.raw import RawMasterKeyProvider  # noqa: PLC0415

    class Provider(RawMasterKeyProvider):
        provider_id = "bench"

        def _get_raw_key(self, key_id: str) -> WrappingKey:  # noqa: ARG002 - the rival's signature
            return WrappingKey(
                wrapping_algorithm=(
                    identifiers.WrappingAlgorithm.AES_256_GCM_IV12_TAG16_NO_PADDING
                ),
                wrapping_key=b"k" * 32,
                wrapping_key_type=identifiers.EncryptionKeyType.SYMMETRIC,
            )

    provider = Provider()
    provider.add_master_key("key")
    client = sdk.EncryptionSDKClient()
    stored, _ = client.encrypt(
        source=plain,
        key_provider=provider,
        algorithm=identifiers.AlgorithmSuite.AES_256_GCM_HKDF_SHA512_COMMIT_KEY,
    )
    return lambda: client.decrypt(source=stored, key_provider=provider)


def opened(rounds: int) -> dict[str, Measure]:
    """Return microseconds for opening one value, by size and contender: medians of the rounds."""
    found = {}
    for size in SIZES:
        rivals = contenders(size)
        times: dict[str, list[float]] = {name: [] for name in rivals}
        for _ in range(rounds):
            for name, (act, calls) in rivals.items():
                times[name].append(_time(act, calls))
        found[f"open {size} B"] = {
            name: statistics.median(values) for name, values in times.items()
        }
    return found
