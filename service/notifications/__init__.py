"""Messages to people and other services, written in the deciding transaction, then delivered."""
