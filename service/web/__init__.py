"""The HTTP kit: strict input, one registry of operations, problem documents."""
