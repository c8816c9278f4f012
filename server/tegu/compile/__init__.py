"""Learner -> ONNX graphs with the gradients inside.

trace           a torch function of named tensors -> ONNX
decompositions  operators that torch.onnx cannot translate, in terms of those that it can
reorder         pooling before ReLU while tracing
sliding         convolutions as they are, for few rows
few_rows        the choice between two graphs by the number of rows
fuse            fewer ONNX nodes
loop            one step -> an ONNX Loop over steps
hoist           what no step changes, before the loop
examples        made-up rows of any spec, to trace and check with
check           a graph's outputs against torch's
device          the three graphs of a bundle
cohort          the graphs batched over users, for simulation
"""

from tegu.compile.cohort import CohortGraphs, compile_cohort, compile_cohort_updates
from tegu.compile.device import compile_learner, make_bundle, manifest_of

__all__ = ["CohortGraphs", "compile_cohort", "compile_cohort_updates", "compile_learner", "make_bundle", "manifest_of"]
