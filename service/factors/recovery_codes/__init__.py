"""Recovery codes: look-up secrets for when other authenticators are lost."""
