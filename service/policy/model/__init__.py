"""The policy document, its conditions and the pure function that decides."""
