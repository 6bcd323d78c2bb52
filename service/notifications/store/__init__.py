"""The tables of messages, their deliveries and webhooks."""
