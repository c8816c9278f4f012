"""From a torch function to an ONNX graph.

trace            several functions to ONNX models, in one export
capture          a function to a graph of aten operators
views_in_place   axes changed in place, written without side effects
writes_in_place  writes to memory, written without side effects
known_values     what is computed from constants alone, for code that branches on it
executed         a digest of the operators that a function runs
cache            translated graphs kept between calls
responsible      the module of the user's model that does not compile
promotion        explicit conversions of types
translate        aten operators to ONNX
registry         the translation of each operator, read when a graph has it
naming           names of graph inputs and outputs
loop             one step to an ONNX Loop over steps
hoist            nodes that no step changes, before the loop
"""
