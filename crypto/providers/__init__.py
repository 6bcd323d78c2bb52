"""Where root keys live; each provider wraps KEKs and never lets a root key out."""
