"""Create, list, rotate, revoke and authenticate clients (RFC 6749 section 2.3, RFC 7523)."""

from service.clients.actions.authentication import refused
from service.clients.actions.clients import Clients, digest_of, key_set

__all__ = ["Clients", "digest_of", "key_set", "refused"]
