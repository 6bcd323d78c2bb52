"""Words shared by every feature; pure, and the lowest floor of the service."""
