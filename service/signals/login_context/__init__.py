"""Login context: where from, with what and when a person signs in, against their own history."""
