"""A code for a person who has lost everything, which two operators agreed to send."""
