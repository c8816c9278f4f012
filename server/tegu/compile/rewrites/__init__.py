"""Rewrites of a finished ONNX graph into fewer or faster nodes.

fuse             one node in place of two
sink_transposes  transposes after elementwise operators, where they cancel
few_rows         a choice between two graphs by the number of rows
prefix           a prefix for the names in a model
replace_node     new nodes in place of one
"""
