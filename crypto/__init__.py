"""Keys, envelopes and blind indexes; knows nothing of the web, the database or the service."""
