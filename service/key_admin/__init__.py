"""Key administration: all commands and routes of the key lifecycle."""
