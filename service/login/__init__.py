"""The layered flow: a pure state machine, and the verbs around it."""
