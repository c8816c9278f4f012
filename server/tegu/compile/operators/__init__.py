"""Operators that torch's ONNX exporter lacks, or that ONNX Runtime runs faster in another form.

decompositions    the table of replacements
allocations       memory that is filled later
strided           views by strides
statistics        variances and boundaries
convolution/      convolutions by Winograd's algorithms, by im2col, or by sliding kernels
pooling           the gradients of pooling
pool_before_relu  max pooling before ReLU while tracing
broadcast_matmul  a matrix product that broadcasts without copying
translations      the translation of operators that Tegu adds to torch
batched_products  products of one matrix per user, recorded as one operator
"""
