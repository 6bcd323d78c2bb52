"""Tables of subjects, blind-index digests, verification codes, consents and suspensions."""
