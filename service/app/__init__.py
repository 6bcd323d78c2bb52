"""The composition root: every feature is wired here, and nowhere else."""

from service.app.house import House, open_house
from service.app.http import create_app
from service.app.keys import open_recovery, open_vault

__all__ = ["House", "create_app", "open_house", "open_recovery", "open_vault"]
