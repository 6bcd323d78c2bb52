"""Devices that completed a login before, and the token that says so."""
