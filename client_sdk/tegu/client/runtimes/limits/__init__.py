"""What a bundle from a publisher who need not be trusted may be and may take.

bundle_rules  which bundles are refused before anything of them runs
wire_format   protobuf messages, read without the onnx package
graph_rules   which graphs are refused before ONNX Runtime sees them
tensor_rules  which constants and types are refused
run_limits    how long a graph may run, and how much memory it may take
watchdog      stops what runs too long
"""
