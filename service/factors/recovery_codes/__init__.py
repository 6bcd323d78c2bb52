"""Look-up secrets to fall back on."""
