"""What runs a bundle's graphs.

runtime        the protocol that a runtime implements
onnx_runtime   ONNX Runtime, the default
torch_runtime  torch: a learner as it is, or a module with other optimisers and devices
in_torch       what it runs
graph_cache    graphs as optimised by ONNX Runtime, cached beside the store
private_folder its folder, which no other user may enter
limits         what a bundle may be and may take
changed_rows   the rows of a table that adapting changed
"""
