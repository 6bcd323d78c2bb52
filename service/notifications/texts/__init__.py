"""Texts of messages by kind and language, which an operator may replace."""
