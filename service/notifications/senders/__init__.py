"""Deliver a message: by SMTP, by a signed request, or to the terminal."""
