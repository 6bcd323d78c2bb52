"""Rights of a person over their data: erasure, and an export of all personal data."""
