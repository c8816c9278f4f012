"""Torch operators in a form that exports to ONNX and can be batched over users.

exportable     the table of replacements, and losses
activations    SiLU, GELU and others
normalisation  over features
pooling        by windows along axes
axes           windows and constant matrices along an axis
paddings       with values of the input
embeddings     and bags of them, from a function that gives rows
matrices       layers of two inputs, inverses, exponentials
scans          products and extremes along an axis
indexing       parts of a tensor by their places
sampling       an image between its pixels
foreign        refuses complex and sparse results
recurrent      recurrent layers, step by step
"""
