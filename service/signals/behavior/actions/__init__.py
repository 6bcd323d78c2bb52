"""Accept behavioral samples with consent, learn from them, and assess them as a signal."""

from service.signals.behavior.actions.api import Measuring
from service.signals.behavior.actions.profiles import PURPOSE, Behaviors
from service.signals.behavior.actions.signal import BehaviorSignal

__all__ = ["PURPOSE", "BehaviorSignal", "Behaviors", "Measuring"]
