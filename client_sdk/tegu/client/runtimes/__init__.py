"""What runs the graphs of a bundle: ONNX Runtime, or torch."""
