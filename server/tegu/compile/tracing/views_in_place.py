"""Changes of a tensor's axes in place, as torch's batching rules make them, written as operators without side effects.

They leave the entries alone. So no second recording has to find out what shares memory with what.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.fx import GraphModule, Node

__all__ = ["without_views_in_place"]

_aten = torch.ops.aten
_SQUEEZE_ALL, _SQUEEZE, _UNSQUEEZE = _aten.squeeze_.dims, _aten.squeeze_.dim, _aten.unsqueeze_.default


def without_views_in_place(module: GraphModule) -> None:
    """Replace `squeeze_` and `unsqueeze_` in a recorded graph.

    A recording names the tensor anew after each change, so all that reads it later reads the new name. Where anything
    still reads the old name, the operator stays.
    """
    order = {node: place for place, node in enumerate(module.graph.nodes)}
    for node in list(module.graph.nodes):
        if node.target not in (_SQUEEZE_ALL, _SQUEEZE, _UNSQUEEZE):
            continue
        if all(order[user] <= order[node] for user in node.args[0].users):
            node.replace_all_uses_with(_reshaped(module, node))
            module.graph.erase_node(node)


def _reshaped(module: GraphModule, node: Node) -> Node:
    value: Any = node.args[0]
    with module.graph.inserting_before(node):
        for target, axis in _changes(node, value.meta["val"].shape):
            changed = module.graph.call_function(target, (value, axis))
            changed.meta["val"] = target(value.meta["val"], axis)
            value = changed
    return value  # type: ignore[no-any-return] # fx arguments have no type


def _changes(node: Node, shape: Sequence[Any]) -> Iterator[tuple[Any, int]]:
    axes: Any = node.args[1]
    if node.target == _UNSQUEEZE:
        yield _aten.unsqueeze.default, axes
        return
    squeezed = axes if node.target == _SQUEEZE_ALL else [axes]
    for axis in sorted((axis % len(shape) for axis in squeezed), reverse=True):  # the last first: no axis moves
        if shape[axis] == 1:
            yield _aten.squeeze.dim, axis
