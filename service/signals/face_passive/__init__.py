"""What a verified face tells of itself: passive cues, and what its distance proves."""
