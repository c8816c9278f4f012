"""Functions of tensors in plain arithmetic.

indexing  parts of a tensor by their places
pieces    along an axis, taken apart and put together
choosing  entries by their places
writes    changes of a part in place
paddings  with values of the input
sampling  an image between its pixels
scans     products and extremes along an axis
matrices  inverses, exponentials and products of two inputs
foreign   refuses complex and sparse results
"""
