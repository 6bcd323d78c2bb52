"""Faces and behavior as calibrated evidence; knows no web, no database and no keys."""
