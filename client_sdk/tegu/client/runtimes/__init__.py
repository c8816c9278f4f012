"""What runs a bundle's graphs.

runtime        the protocol that a runtime implements
onnx_runtime   ONNX Runtime, the default
torch_runtime  torch, for other optimisers and devices
graph_cache    graphs as optimised by ONNX Runtime, cached beside the store
changed_rows   the rows of a table that adapting changed
"""
