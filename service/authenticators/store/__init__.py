"""Tables of authenticators, used TOTP steps and grants."""
