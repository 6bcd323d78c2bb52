"""Operators: roles of subjects, and the acts that need two operators."""
