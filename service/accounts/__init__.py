"""Subjects, their identifiers and consents."""
