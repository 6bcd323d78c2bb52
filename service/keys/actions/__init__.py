"""Key operations: storage, lifecycle, rotation, verification, recovery and crypto-shredding."""

from service.keys.actions.keystore import KeyStore
from service.keys.actions.signing import SigningKeys

__all__ = ["KeyStore", "SigningKeys"]
