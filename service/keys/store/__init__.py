"""Tables of wrapped KEKs and data keys, index and signing keys, instances and erasures."""
