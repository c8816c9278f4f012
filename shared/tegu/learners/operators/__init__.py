"""Torch operators in a form that exports to ONNX and can be batched over users.

exportable     the table of replacements, and losses
activations    SiLU, GELU and others
normalisation  over features
pooling        by windows along axes
axes           windows and constant matrices along an axis
embeddings     and bags of them, from a function that gives rows
linear         on any number of axes
attention      in plain products and a softmax
randomness     dropout is off, and random numbers are refused
recurrent      recurrent layers, step by step
cells          one step of them
scan           a loop over the leading axis that stays one node in a graph
tensors/       functions of tensors, from indexing to inverses
"""
