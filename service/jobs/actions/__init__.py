"""Run due background tasks while holding the lease, until stopped."""
