"""The face, as a further layer that policy asks for; never a level by itself."""
