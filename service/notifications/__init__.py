"""Messages to people and services: written in the deciding transaction, delivered afterwards."""
