"""Login context: network, device and time of a login, compared with the subject's history."""
