"""Service accounts: who may call, with which scopes and flags."""
