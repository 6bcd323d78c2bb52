"""Enrolled authenticators, their life cycle, and the grants that allow changes."""
