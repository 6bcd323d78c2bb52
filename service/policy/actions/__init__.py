"""Parsing of policy documents, and the default document."""
