"""Rewrites of a finished ONNX graph into fewer or faster nodes."""
