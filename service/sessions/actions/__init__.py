"""Start, read, replace and end sessions; every read checks the subject's status."""

from service.sessions.actions.finding import SessionValue, Standing
from service.sessions.actions.sessions import SessionDependencies, Sessions

__all__ = ["SessionDependencies", "SessionValue", "Sessions", "Standing"]
