"""Deliver one message: by SMTP, by a signed request, or to the terminal."""
