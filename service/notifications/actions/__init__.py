"""Write messages, deliver them, and keep the webhooks that hear of events."""
