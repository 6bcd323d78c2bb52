"""The face factor, an additional layer that policy may require; never a level by itself."""
