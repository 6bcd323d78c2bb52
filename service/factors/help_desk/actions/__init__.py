"""Request a recovery, approve it, send its code, stop it: what two operators do for a person."""
