"""Add, confirm, find and revoke authenticators; issue and use grants."""

from service.authenticators.actions.authenticators import Authenticators
from service.authenticators.actions.grants import RECOVERABLE, RECOVERY_ACT, Grants

__all__ = ["RECOVERABLE", "RECOVERY_ACT", "Authenticators", "Grants"]
