"""The HTTP layer: strict input, a registry of operations, problem documents."""
