"""Convert dlib's weight files to ONNX networks."""
