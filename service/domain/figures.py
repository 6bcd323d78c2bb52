"""Defaults of operations that need two people, shared by their routes and approvals."""

from typing import Final

OVERLAP: Final = 0
"""Seconds that a replaced secret or key stays valid."""
WEBHOOK_OVERLAP: Final = 86_400
"""Seconds that a replaced secret of a webhook still signs."""
GRACE_DAYS: Final = 7
"""Days until a key scheduled for destruction is destroyed."""
EXPORT_DAYS: Final = 365
"""Days by which a recovery export delays the erasure horizon."""
RAMP: Final = 600
"""Seconds in which a threshold shift reaches its value."""
TIGHTEN_LIFE: Final = 86_400
"""Seconds for which a threshold shift applies."""
LOOSENING: Final = "tighten "
"""Prefix of the target of an approval for a loosening threshold shift."""
