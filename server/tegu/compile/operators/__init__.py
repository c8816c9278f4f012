"""Operators that torch's ONNX exporter lacks, or that ONNX Runtime runs faster in another form."""
