"""The password factor: a memorized secret."""
