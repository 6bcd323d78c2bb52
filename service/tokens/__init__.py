"""Access and refresh tokens, completion codes, introspection and revocation."""
