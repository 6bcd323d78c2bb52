"""Begin a flow, verify factors in it, cancel it."""

from service.login.actions.flows import Login

__all__ = ["Login"]
