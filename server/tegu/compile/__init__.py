"""Compile a learner to ONNX graphs that contain its gradients.

device           the three graphs of a bundle, for one user
cohort           the graphs batched over users, for simulation
graphs           what both share: trace the functions, combine the pieces, check the results
functions        a learner's functions of named tensors, for one user and for many
summed_updates   the sum of many users' unclipped updates
named_tensors    the types of these functions
examples         random inputs that fit a learner, to trace and check graphs with
check            compare a graph's outputs with torch's
lock             one compilation at a time
quiet            silence for what torch warns and logs about its own code
tracing/         from a torch function to an ONNX graph
operators/       operators that torch.onnx lacks, or that ONNX Runtime runs faster in another form
rewrites/        rewrites of a finished ONNX graph
"""

from importlib.util import find_spec

from tegu.core.errors import MissingExtraError, missing_extra

if find_spec("onnxscript") is None:  # it is imported when a graph is translated, which may be hours later
    raise MissingExtraError("onnxscript", "server")
try:
    from tegu.compile.cohort import CohortGraphs, compile_cohort, compile_cohort_updates
    from tegu.compile.device import compile_learner, make_bundle, manifest_of
except ImportError as error:
    raise missing_extra(error, "server") from error

__all__ = ["CohortGraphs", "compile_cohort", "compile_cohort_updates", "compile_learner", "make_bundle", "manifest_of"]
