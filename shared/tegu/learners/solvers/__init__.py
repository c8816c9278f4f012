"""Solvers that need matrix products alone, so that any runtime can compute them.

kernel               the kernel of rows of length 1
drifting_kernel      a factor for rows in order
kernel_regression    ridge and logistic regression around given outputs, with rows left out
ridge                ridge regression of several targets, which gradients pass through
linear_ridge         ridge regression on a few features, with a penalty for each
conjugate_gradients  systems that are too large for an inverse
inverse              the inverse of a small matrix
"""
