"""Operators that write to a tensor, as `nn.ReLU(inplace=True)` and `x[:, 0] = y` do, replaced in a recorded graph.

Torch's `functionalize` can do the same for every graph, but records it a second time. Here what a write changes is
found by its aliases: where no other name of the memory is read later, an operator that returns a new tensor does the
same.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

__all__ = ["is_write", "without_writes_in_place"]

_aten = torch.ops.aten
_SCATTERS: dict[Any, Any] = {
    _aten.slice.Tensor: _aten.slice_scatter.default,
    _aten.select.int: _aten.select_scatter.default,
}


def is_write(target: object) -> bool:
    """Whether an operator writes to one of its arguments."""
    return isinstance(target, torch._ops.OpOverload) and target._schema.is_mutable


def without_writes_in_place(module: GraphModule) -> None:
    """Replace the operators that write to memory, where nothing reads the memory by another name later."""
    order = {node: place for place, node in enumerate(module.graph.nodes)}
    for node in list(module.graph.nodes):
        if is_write(node.target):
            _replace(module, node, order)


def _replace(module: GraphModule, node: Node, order: dict[Node, int]) -> None:
    names = _names(node.args[0])
    if not names or not _is_own_memory(names[-1]):
        return
    before = [each for each in _aliases(names[-1]) if order[each] < order[node]]
    read = [each for each in before if any(order[user] > order[node] for user in each.users)]
    inside = any(each is not names[0] for each in read)  # what is not written to is read, too
    if inside and not _can_scatter(node, names, read):
        return
    with module.graph.inserting_before(node):
        value = _value(module, node, names[0])
        if value is None:
            return
        changed = value
        for name in names if inside else names[:1]:
            order[changed] = order[node]
            _use_after(order, node, name, changed)
            if name is not names[-1] and inside:  # put together again, name by name
                changed = _call(module, _SCATTERS[name.target], (name.args[0], changed, *name.args[1:]))
    node.replace_all_uses_with(value)
    module.graph.erase_node(node)


def _names(written: Any) -> list[Node]:
    """The names of the memory that is written to, from the written one to the one that made it; empty if unclear."""
    names = list[Node]()
    while isinstance(written, Node) and isinstance(written.meta.get("val"), Tensor):
        names.append(written)
        if not _is_alias(written):
            return names
        written = written.args[0]
    return []


def _is_own_memory(node: Node) -> bool:
    """Whether an operator of the graph has made this memory."""
    return node.op == "call_function" and not is_write(node.target)


def _can_scatter(node: Node, names: Sequence[Node], read: Sequence[Node]) -> bool:
    """Whether the whole is put together again from what is written and the rest.

    What is read later must have one of these names. And nothing may share memory with the result of the write, as it
    would have to change the whole, too.
    """
    known = all(each in names for each in read)
    return known and all(each.target in _SCATTERS for each in names[:-1]) and not any(map(_is_alias, node.users))


def _is_alias(node: Node) -> bool:
    """Whether a node's result shares memory with its first argument: a view, or what a write returns."""
    if node.target is operator.getitem:
        return isinstance(node.args[0], Node) and _is_alias(node.args[0])
    if not isinstance(node.target, torch._ops.OpOverload):
        return False
    return any(result.alias_info is not None for result in node.target._schema.returns)


def _aliases(node: Node) -> Iterator[Node]:
    """The node and all names of its memory."""
    yield node
    for user in node.users:
        if _is_alias(user) and user.args[0] is node:
            yield from _aliases(user)


def _value(module: GraphModule, node: Node, written: Node) -> Node | None:
    """The written value as a new tensor; None if it has another form than the memory."""
    given: Tensor = written.meta["val"]
    if node.target is _aten.copy_.default:
        source = node.args[1]
        fits = isinstance(source, Node) and _form(source.meta["val"]) == _form(given)
        return _call(module, _aten.clone.default, (source,)) if fits else None
    name, _, overload = str(node.target).removeprefix("aten.").partition(".")
    packet = getattr(_aten, name.removesuffix("_"), None)
    if packet is None or not name.endswith("_") or overload not in packet.overloads():
        return None
    made = _call(module, getattr(packet, overload), node.args, node.kwargs)
    if _form(made.meta["val"]) == _form(given):
        return made
    module.graph.erase_node(made)
    return None


def _form(value: Tensor) -> tuple[Any, ...]:
    return value.dtype, *(str(size) for size in value.shape)


def _call(module: GraphModule, target: Any, args: tuple[Any, ...], options: Mapping[str, Any] | None = None) -> Node:
    node = module.graph.call_function(target, args, dict(options or {}))
    values, named = map_arg((node.args, node.kwargs), lambda each: each.meta["val"])
    node.meta["val"] = target(*values, **named)
    return node


def _use_after(order: Mapping[Node, int], node: Node, old: Node, new: Node) -> None:
    """Let what reads `old` after `node` read `new`."""
    for user in list(old.users):
        if order[user] > order[node]:
            user.replace_input_with(old, new)
