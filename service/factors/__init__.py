"""The factors, one package each; they are independent of each other."""
