"""Operators in a form that exports to ONNX and batches over users."""
