"""Train and evaluate models of behavioral signals."""
