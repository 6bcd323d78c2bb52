"""Erase a subject or one class of its data; detect a restored backup and repeat erasures."""
