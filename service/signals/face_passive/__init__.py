"""The passive face signal: cues of a verified face, and the evidence of its distance."""
