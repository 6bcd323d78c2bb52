"""The outbox: events and notices, written in the deciding transaction."""
