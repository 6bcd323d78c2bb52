"""Issue, refresh, introspect and revoke tokens (RFC 6749, 7009, 7662, 9068)."""

from service.tokens.actions.access import AccessTokens
from service.tokens.actions.tokens import Tokens

__all__ = ["AccessTokens", "Tokens"]
