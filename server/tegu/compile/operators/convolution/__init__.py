"""Convolutions and their gradients, each in the form that ONNX Runtime runs fastest.

dispatch           which form a convolution takes when a function is captured
winograd           minimal filtering: fewer multiplications
minimal_filtering  the exact matrices of minimal filtering in one dimension
im2col             a product with the input's windows
sliding            keep convolutions as single ONNX Conv operators, for few rows
sliding_gradients  the gradients of a convolution, by other convolutions
"""
