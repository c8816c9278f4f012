"""Compile a learner to ONNX graphs that contain its gradients.

device           the three graphs of a bundle, for one user
cohort           the graphs batched over users, for simulation
graphs           what both share: trace the functions, combine the pieces, check the results
functions        a learner's functions of named tensors, for one user and for many
summed_updates   the sum of many users' unclipped updates
named_tensors    the types of these functions
examples         random inputs that fit a learner, to trace and check graphs with
check            compare a graph's outputs with torch's
tracing/         from a torch function to an ONNX graph
  trace          several functions to ONNX models, in one export
  capture        a function to a graph of aten operators
  translate      aten operators to ONNX
  naming         names of graph inputs and outputs
  loop           one step to an ONNX Loop over steps
  hoist          nodes that no step changes, before the loop
operators/       operators that torch.onnx lacks, or that ONNX Runtime runs faster in another form
  decompositions    the table of replacements
  convolution/      convolutions by Winograd's algorithms, by im2col, or by sliding kernels
  pooling           the gradients of pooling
  pool_before_relu  max pooling before ReLU while tracing
  broadcast_matmul  a matrix product that broadcasts without copying
rewrites/        rewrites of a finished ONNX graph
  fuse              one node in place of two
  sink_transposes   transposes after elementwise operators, where they cancel
  few_rows          a choice between two graphs by the number of rows
  replace_node      new nodes in place of one
"""

from tegu.compile.cohort import CohortGraphs, compile_cohort, compile_cohort_updates
from tegu.compile.device import compile_learner, make_bundle, manifest_of

__all__ = ["CohortGraphs", "compile_cohort", "compile_cohort_updates", "compile_learner", "make_bundle", "manifest_of"]
