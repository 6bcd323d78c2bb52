"""The Flask service: features, one folder each, composed in `app`."""
