"""A loop over the leading axis that stays one node in a recorded graph, with gradients of every order.

ONNX has the same operator, `Scan`. A loop in Python would be recorded iteration by iteration.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch._higher_order_ops.scan import scan_op
from torch.func import vjp, vmap

__all__ = ["Step", "scan"]

_Tensors: TypeAlias = tuple[Tensor, ...]
Step: TypeAlias = Callable[[_Tensors, _Tensors, _Tensors], tuple[_Tensors, _Tensors]]


def scan(step: Step, state: _Tensors, xs: _Tensors, constants: _Tensors) -> tuple[_Tensors, _Tensors]:
    """Run `step` for every index of the leading axis of `xs`, while a function is recorded.

    Args:
        step: (state, the entries of xs at an index, constants) -> (the next state, of the same shapes; outputs). It
            reads no other tensors.
        state: the state before the first index.
        xs: tensors `[length, ...]`.
        constants: tensors that are the same at every index.

    Returns:
        The state after the last index, and the outputs `[length, ...]`.
    """
    sizes = _Sizes(len(state), len(xs))
    found: _Tensors = _Scan.apply(_flat(step, sizes), sizes, *state, *xs, *constants)  # type: ignore[no-untyped-call] # torch does not annotate it
    return found[: len(state)], found[2 * len(state) :]


class _Sizes(NamedTuple):
    """Numbers of tensors in a state, and in what a step reads by index."""

    state: int
    xs: int

    def split(self, tensors: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...]]:
        """State, entries of xs, and constants."""
        first, second = self.state, self.state + self.xs
        return tuple(tensors[:first]), tuple(tensors[first:second]), tuple(tensors[second:])


def _flat(step: Step, sizes: _Sizes) -> Callable[..., _Tensors]:
    """(state, entries, constants) -> (next state, state before, outputs), all as flat tuples."""

    def flat(*tensors: Tensor) -> _Tensors:
        state, outputs = step(*sizes.split(tensors))
        return (*state, *tensors[: sizes.state], *outputs)

    return flat


class _Scan(torch.autograd.Function):
    """The states before each index are outputs too, since gradients need them."""

    @staticmethod
    def forward(step: Callable[..., _Tensors], sizes: _Sizes, *tensors: Tensor) -> _Tensors:
        def body(*tensors: Tensor) -> list[Tensor]:
            # torch demands results that share no memory, and states of one layout in memory.
            return [value.clone(memory_format=torch.contiguous_format) for value in step(*tensors)]

        state, xs, constants = sizes.split(tensors)
        return tuple(scan_op(body, [value.contiguous() for value in state], list(xs), constants))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: _Tensors) -> None:
        ctx.step, ctx.sizes, *tensors = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors[ctx.sizes.state :], *output[ctx.sizes.state : 2 * ctx.sizes.state])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        count, sizes = ctx.sizes.state, ctx.sizes
        saved, before = ctx.saved_tensors[:-count], ctx.saved_tensors[-count:]
        xs, constants = saved[: sizes.xs], saved[sizes.xs :]
        given = [index for index, grad in enumerate(grads) if index >= count and grad is not None]
        last = tuple(torch.zeros_like(b[0]) if g is None else g for b, g in zip(before, grads, strict=False))
        totals = tuple(torch.zeros_like(constant) for constant in constants)

        def reverse(state: _Tensors, entries: _Tensors, constants: _Tensors) -> tuple[_Tensors, _Tensors]:
            by_state, totals = state[:count], state[count:]
            primals, by_outputs = entries[: count + sizes.xs], entries[count + sizes.xs :]

            def outputs(*inputs: Tensor) -> _Tensors:
                results = ctx_step(*inputs)
                return tuple(results[index] for index in (*range(count), *given))

            pullback: Callable[[_Tensors], _Tensors] = vjp(outputs, *primals, *constants)[1]
            by_before, by_xs, by_constants = sizes.split(pullback((*by_state, *by_outputs)))
            return (*by_before, *(a + b for a, b in zip(totals, by_constants, strict=True))), by_xs

        ctx_step = ctx.step
        entries = [*before, *xs, *(grads[index] for index in given)]
        final, by_xs = scan(reverse, (*last, *totals), tuple(entry.flip(0) for entry in entries), constants)
        return (None, None, *final[:count], *(value.flip(0) for value in by_xs), *final[count:])

    @staticmethod
    def vmap(
        info: Any, dims: tuple[Any, ...], step: Callable[..., _Tensors], sizes: _Sizes, *tensors: Tensor
    ) -> tuple[_Tensors, tuple[int, ...]]:
        state, xs, constants = sizes.split(tuple(zip(tensors, dims[2:], strict=True)))
        moved = [
            *(t.expand(info.batch_size, *t.shape) if d is None else t.movedim(d, 0) for t, d in state),
            *(t if d is None else t.movedim(d, 1) for t, d in xs),
            *(t if d is None else t.movedim(d, 0) for t, d in constants),
        ]
        axes = (*(0 for _ in state), *(None if d is None else 0 for _, d in (*xs, *constants)))
        found: _Tensors = _Scan.apply(vmap(step, axes), sizes, *moved)  # type: ignore[no-untyped-call] # as above
        return found, tuple(int(index >= len(state)) for index in range(len(found)))
