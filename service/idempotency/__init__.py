"""Answers that are kept for requests sent again, sealed."""
