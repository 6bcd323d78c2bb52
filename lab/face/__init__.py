"""Synthetic faces and evaluation of the face engine."""
