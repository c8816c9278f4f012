"""Which graphs are refused before ONNX Runtime sees them.

ONNX Runtime reads files that a graph names, inlines functions that double with each call, and runs a loop as often as
the graph says. What is checked here bounds the graph itself; `run_limits` bounds what running it takes.
The numbers are those of fields in https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tegu.client.runtimes.limits.tensor_rules import check_tensor, check_type
from tegu.client.runtimes.limits.wire_format import LENGTH, VARINT, Reader, Span
from tegu.core.errors import RuntimeFailure

__all__ = ["MAX_DEPTH", "MAX_ELEMENTS", "MAX_NAME", "MAX_NODES", "MAX_TURNS", "check_graph"]

MAX_NODES = 20_000
MAX_FIELDS = 1_000_000
MAX_DEPTH = 8  # of loops and branches within one another
MAX_NAME = 512  # bytes
MAX_TURNS = 1_000_000  # of a loop whose number of turns is a constant
MAX_ELEMENTS = 1 << 28  # of a value whose shape is a constant

_ORT_FORMAT = b"ORTM"  # at byte 4: ONNX Runtime's own format, which is not read here
_NO_NUMBERS = ("Sequence", "Optional", "String", "Regex", "Tfidf", "TfIdf", "Image")
_OTHERS = {"SplitToSequence", "ConcatFromSequence"}
_SIZED = {"ConstantOfShape": 0, "Expand": 1, "Tile": 1}  # which input is the shape
_STRING = 8


def check_graph(graph: bytes) -> None:
    """Check a serialised ONNX model.

    Raises:
        RuntimeFailure: it is no model, or not one of plain tensors and operators within the limits of this module; the
            message says why, as the end of a sentence.
    """
    if graph[4:8] == _ORT_FORMAT:
        raise RuntimeFailure("it is not in the ONNX format")
    _Check(Reader(graph, MAX_FIELDS)).model((0, len(graph)))


class _Check:
    """One check, which counts nodes and notes small constants."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._nodes = 0
        self._names = set[bytes]()
        self._constants = dict[bytes, tuple[int, ...]]()

    def model(self, span: Span) -> None:
        found = False
        for number, wire, begin, end in self._reader.fields(span):
            if number == 7 and wire == LENGTH:
                self._graph((begin, end), depth=0)
                found = True
            elif number == 8 and wire == LENGTH:
                self._opset((begin, end))
            elif number in (20, 25, 26):
                raise RuntimeFailure("it has functions, training steps or devices of its own")
            elif number not in (1, 2, 3, 4, 5, 6, 14):
                raise RuntimeFailure(f"it has the field {number}, which is not known")
        if not found:
            raise RuntimeFailure("it has no graph")

    def _opset(self, span: Span) -> None:
        for number, wire, begin, end in self._reader.fields(span):
            if number == 1 and wire == LENGTH:
                self._own_domain((begin, end))

    def _own_domain(self, span: Span) -> None:
        domain = self._name(span)
        if domain not in (b"", b"ai.onnx"):
            raise RuntimeFailure(f"it uses operators of {domain.decode()!r}, not of ONNX alone")

    def _graph(self, span: Span, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise RuntimeFailure(f"its loops are nested more than {MAX_DEPTH} deep")
        nodes = list[Span]()
        for number, wire, begin, end in self._reader.fields(span):
            if number in (1, 5, 11, 12, 13) and wire != LENGTH:
                raise RuntimeFailure(f"its field {number} has the wire type {wire}")
            if number == 1:
                nodes.append((begin, end))
            elif number == 5:
                self._constant((begin, end))
            elif number in (11, 12, 13):
                self._value((begin, end), typed=depth == 0 and number == 12)
            elif number == 15:
                raise RuntimeFailure("it has sparse constants")
            elif number not in (2, 10, 14, 16):
                raise RuntimeFailure(f"its graph has the field {number}, which is not known")
        for node in nodes:
            self._node(node, depth)

    def _constant(self, span: Span, name: bytes | None = None) -> None:
        constant = check_tensor(self._reader, span)
        known_as = self._name(constant.name) if name is None else name
        if constant.numbers:
            self._constants[known_as] = constant.numbers

    def _value(self, span: Span, *, typed: bool) -> None:
        for number, wire, begin, end in self._reader.fields(span):
            if number == 1 and wire == LENGTH:
                self._name((begin, end))
            elif number == 2 and wire == LENGTH:
                check_type(self._reader, (begin, end))
                typed = False
        if typed:
            raise RuntimeFailure("an output has no type")

    def _node(self, span: Span, depth: int) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise RuntimeFailure(f"it has more than {MAX_NODES} nodes")
        inputs, outputs, attributes, operator = list[bytes](), list[bytes](), list[Span](), b""
        for number, wire, begin, end in self._reader.fields(span):
            if wire != LENGTH or number not in (1, 2, 3, 4, 5, 6, 7, 9):
                raise RuntimeFailure(f"a node has the field {number}, which is not allowed")
            if number in (1, 2):
                (inputs if number == 1 else outputs).append(self._name((begin, end)))
            elif number == 3:
                self._name((begin, end))
            elif number == 4:
                operator = self._name((begin, end))
            elif number == 5:
                attributes.append((begin, end))
            elif number == 7:
                self._own_domain((begin, end))
        name = operator.decode()
        if name.startswith(_NO_NUMBERS) or name in _OTHERS:
            raise RuntimeFailure(f"it has the operator {name}, which does not compute with numbers alone")
        for attribute in attributes:
            self._attribute(attribute, name, outputs, depth)
        self._check_sizes(name, inputs)

    def _attribute(self, span: Span, operator: str, outputs: Sequence[bytes], depth: int) -> None:
        name, whole = b"", 0
        for number, wire, begin, end in self._reader.fields(span):
            if number in (14, 15, 21, 22, 23):
                raise RuntimeFailure("an attribute is sparse, a type, or refers to a function")
            if number == 1:
                name = self._name((begin, end))
            elif number == 3 and wire == VARINT:
                whole = begin
            elif number in (5, 10) and wire == LENGTH:
                self._constant((begin, end), outputs[0] if operator == "Constant" and outputs else b"")
            elif number in (6, 11) and wire == LENGTH:
                self._graph((begin, end), depth + 1)
            elif number not in (2, 4, 7, 8, 9, 13, 20):
                raise RuntimeFailure(f"an attribute has the field {number}, which is not allowed")
        if operator in ("Cast", "CastLike") and name == b"to" and whole == _STRING:
            raise RuntimeFailure("it makes text of numbers")

    def _check_sizes(self, operator: str, inputs: Sequence[bytes]) -> None:
        if operator == "Loop" and inputs:
            turns = max(self._constants.get(inputs[0], ()), default=0)
            if turns > MAX_TURNS:
                raise RuntimeFailure(f"it has a loop of {turns} turns, more than the {MAX_TURNS} allowed")
        position = _SIZED.get(operator)
        if position is not None and position < len(inputs):
            shape = self._constants.get(inputs[position], ())
            if math.prod(max(size, 1) for size in shape) > MAX_ELEMENTS:
                raise RuntimeFailure(f"{operator} makes a value of the shape {list(shape)}, which is too large")

    def _name(self, span: Span) -> bytes:
        begin, end = span
        name = self._reader.data[begin:end] if end - begin <= MAX_NAME else None
        if name is None:
            raise RuntimeFailure(f"a name in it has {end - begin} bytes, more than the {MAX_NAME} allowed")
        if name not in self._names:
            _check_printable(name)
            self._names.add(name)
        return name


def _check_printable(name: bytes) -> None:
    try:
        printable = name.decode().isprintable()
    except UnicodeDecodeError:
        printable = False
    if not printable:
        raise RuntimeFailure(f"a name in it, {name[:40]!r}, is not printable text")
