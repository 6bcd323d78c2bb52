"""Roles of operators, approvals of acts that take two of them, and acts from the host."""

from service.operators.actions.operators import ApprovedAct, Operators, require
from service.operators.model import BREAK_GLASS

__all__ = ["BREAK_GLASS", "ApprovedAct", "Operators", "require"]
