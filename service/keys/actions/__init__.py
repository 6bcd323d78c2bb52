"""The verbs of keys: hold them, give them a life, move what they seal, and prove it."""

from service.keys.actions.signing import SigningKeys
from service.keys.actions.vault import Vault

__all__ = ["SigningKeys", "Vault"]
