"""Behavior: typing compared with a sealed profile that only strong logins update."""
