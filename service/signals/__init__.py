"""Evidence about a session that can only raise what is asked."""
