"""The table of attempt counters."""
