"""Operators: roles on subjects, and the acts that take two of them."""
