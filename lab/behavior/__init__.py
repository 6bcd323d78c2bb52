"""Training and evaluation of models of behavioral signals."""
