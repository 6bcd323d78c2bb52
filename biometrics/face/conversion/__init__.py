"""Conversion of dlib's weight files to ONNX networks."""
