"""Register, find and change subjects; record consents; verify addresses."""
