"""Keys, envelope encryption and blind indexes, without any web, database or service code."""
