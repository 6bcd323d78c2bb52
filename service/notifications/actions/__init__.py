"""Write messages, deliver them, and manage webhooks."""
