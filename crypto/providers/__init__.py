"""Providers of root keys."""
