"""Torch operators in a form that exports to ONNX and can be batched over users.

`exportable` replaces fused operators, `recurrent` unrolls recurrent layers.
"""
