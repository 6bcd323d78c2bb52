"""Pure types and rules shared by all features; the lowest layer of the service."""
