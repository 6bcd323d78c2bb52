"""What a person may ask of their data: erasure, and an export of everything that is held."""
