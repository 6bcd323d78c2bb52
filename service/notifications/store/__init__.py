"""Tables of messages, their deliveries and webhooks."""
