"""A recovery code that two operators agree to send to a person without authenticators."""
