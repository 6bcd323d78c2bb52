"""The layered login flow: a pure state machine, and the operations on it."""
