"""What subjects have enrolled, its life cycle, and the grants that let it change."""
