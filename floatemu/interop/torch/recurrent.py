"""torch's recurrent cells and layers, made of products of matrices: gates and states stay in the model's own dtype."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from floatemu.interop.torch.contractions import Product, linear

Step = Callable[[Any, Any, tuple[Any, ...]], tuple[Any, ...]]
"""What the inputs and the state give a cell, and its state, to the next state; the first of it is the output."""


def _tanh(x: Any, h: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
    return (torch.tanh(x + h),)


def _relu(x: Any, h: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
    return (torch.relu(x + h),)


def _gru(x: Any, h: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
    (x_reset, x_update, x_new), (h_reset, h_update, h_new) = x.chunk(3, -1), h.chunk(3, -1)
    update = torch.sigmoid(x_update + h_update)
    new = torch.tanh(x_new + torch.sigmoid(x_reset + h_reset) * h_new)
    return (new + update * (state[0] - new),)


def _lstm(x: Any, h: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
    enter, forget, content, leave = (x + h).chunk(4, -1)
    memory = torch.sigmoid(forget) * state[1] + torch.sigmoid(enter) * torch.tanh(content)
    return torch.sigmoid(leave) * torch.tanh(memory), memory


def _cell(step: Step) -> Callable[..., Any]:
    def cell(product: Product, x: Any, state: Any, w_x: Any, w_h: Any, b_x: Any = None, b_h: Any = None) -> Any:
        states = (state,) if isinstance(state, torch.Tensor) else tuple(state)
        found = step(linear(product, x, w_x, b_x), linear(product, states[0], w_h, b_h), states)
        return found[0] if isinstance(state, torch.Tensor) else found

    return cell


def _along(product: Product, step: Step, x: Any, states: tuple[Any, ...], weights: Any) -> tuple[Any, tuple[Any, ...]]:
    """One layer in one direction: inputs (T, B, I) go in one product, as in real kernels, states in one a step."""
    w_x, w_h, b_x, b_h = weights
    outputs = []
    for given in linear(product, x, w_x, b_x):
        states = step(given, linear(product, states[0], w_h, b_h), states)
        outputs.append(states[0])
    return torch.stack(outputs), states


def _layers(step: Step) -> Callable[..., Any]:
    def layers(
        product: Product, x: Any, state: Any, weights: Any, has_biases: bool, count: int, dropout: float, train: bool,
        both: bool, batch_first: bool,
    ) -> Any:  # fmt: skip
        states = (state,) if isinstance(state, torch.Tensor) else state
        if len({s.shape[-1] for s in states}) > 1:  # projections
            return NotImplemented
        x = x.transpose(0, 1) if batch_first else x
        last: list[tuple[Any, ...]] = []
        each, ways = (4 if has_biases else 2), 2 if both else 1
        for layer in range(count):
            outputs = []
            for way in range(ways):
                index = layer * ways + way
                own = (*weights[index * each : (index + 1) * each], *(() if has_biases else (None, None)))
                y, end = _along(product, step, x.flip(0) if way else x, tuple(s[index] for s in states), own)
                outputs.append(y.flip(0) if way else y)
                last.append(end)
            x = torch.cat(outputs, -1)
            x = functional.dropout(x, dropout, train) if layer < count - 1 else x
        ends = [torch.stack(parts) for parts in zip(*last, strict=True)]
        return (x.transpose(0, 1) if batch_first else x), *ends

    return layers


CELLS = {
    torch.rnn_tanh_cell: _cell(_tanh), torch.rnn_relu_cell: _cell(_relu),
    torch.gru_cell: _cell(_gru), torch.lstm_cell: _cell(_lstm),
}  # fmt: skip
LAYERS = {
    torch.rnn_tanh: _layers(_tanh), torch.rnn_relu: _layers(_relu),
    torch.gru: _layers(_gru), torch.lstm: _layers(_lstm),
}  # fmt: skip
