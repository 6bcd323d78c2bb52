"""The policy document, its conditions and the pure decision function."""
