"""Clients (service accounts): authentication, scopes and flags."""
