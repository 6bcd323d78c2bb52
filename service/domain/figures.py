"""What acts of two people do where it is not said: their routes and their approvals agree on it."""

from typing import Final

OVERLAP: Final = 0
"""Seconds that a replaced secret or key counts on."""
WEBHOOK_OVERLAP: Final = 86_400
"""Seconds that a replaced secret of a webhook signs on."""
GRACE_DAYS: Final = 7
"""Days before a key that is to be destroyed is gone."""
EXPORT_DAYS: Final = 365
"""Days that a recovery export delays the erase horizon."""
RAMP: Final = 600
"""Seconds in which the live parameter gets to its value."""
TIGHTEN_LIFE: Final = 86_400
"""Seconds for which the live parameter stands."""
LOOSENING: Final = "tighten "
"""What the target of an approval begins with that is for a looser live parameter."""
