"""The factors, one small package each, which do not know each other."""
