"""The verbs of keys: hold them, give them a life, move what they seal, and prove it."""

from service.keys.actions.keystore import KeyStore
from service.keys.actions.signing import SigningKeys

__all__ = ["KeyStore", "SigningKeys"]
