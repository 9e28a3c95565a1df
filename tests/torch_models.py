"""Small torch models that tests record, by name: what to run, on what, and the loss. Importable only with torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

grouped_mm = getattr(nn.functional, "grouped_mm", torch._grouped_mm)
"""Products of groups of rows, each with a matrix of its own; public from torch 2.10 on."""


@dataclass
class Case:
    """A model with its inputs; ``loss`` None where the model gives it."""

    module: nn.Module
    inputs: tuple[Any, ...] = ()
    loss: Callable[[Any], Any] | None = None
    keywords: dict[str, Any] = field(default_factory=dict)

    def run(self, module: nn.Module | None = None, change: Callable[[Any], Any] = lambda x: x) -> Any:
        """Return the loss of a plain run."""
        result = (module or self.module)(*map(change, self.inputs), **self.keywords)
        return result.loss if self.loss is None else self.loss(result)


class Around(nn.Module):
    """A linear layer followed by any function."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.layer, self.function = nn.Linear(4, 4), function

    def forward(self, x: Any) -> Any:
        return self.function(self.layer(x))


class Residual(nn.Module):
    """Two blocks x + f(norm(x)) that share their weights."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.inner, self.head = nn.LayerNorm(6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Any) -> Any:
        for _ in range(2):
            x = x + nn.functional.gelu(self.inner(self.norm(x)), approximate="tanh")
        return self.head(x)


class Views(nn.Module):
    """Writes through views, of which others are seen."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 6)

    def forward(self, x: Any) -> Any:
        y = self.layer(x).sigmoid()
        y = y.clone()
        turned, part = y.t(), y[:, 1:5:2]
        part.mul_(3.0)
        y[1].copy_(turned[:, 0])
        turned[2] += 1.0
        torch.clamp(y, max=2.5, out=y) if not y.requires_grad else y.clamp_(max=2.5)
        return (turned.reshape(3, -1) * part.sum()).flip(0).tril()


class Tied(nn.Module):
    """One matrix as embedding and as output layer; the middle is computed again in the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.middle = nn.Embedding(7, 4), nn.Linear(4, 4)

    def forward(self, tokens: Any) -> Any:
        x = self.table(tokens)
        x = x + checkpoint(lambda value: torch.tanh(self.middle(value)), x, use_reentrant=False)
        return (x @ self.table.weight.T).flatten(0, 1)


class Mixed(nn.Module):
    """Matrix products in bfloat16, the normalisation in float32."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(4, 4), nn.LayerNorm(4)

    def forward(self, x: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            y = self.layer(self.layer(x).tanh())
        return self.norm(y.float())


class Masked(nn.Module):
    """Decisions of every kind: comparisons, logic, extremes, clipping, magnitudes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 5)

    def forward(self, x: Any) -> Any:
        y = self.layer(x)
        chosen = torch.where((y > 0.1) & ~(y >= 0.8) | (y == y.amax(1, keepdim=True)), y, 0.5 * y)
        limited = torch.maximum(chosen, -y).clamp(-0.7, 0.9) + chosen.abs() * y.sign()
        best, place = limited.max(dim=1)
        return limited.masked_fill(y.lt(-0.5), 0.25) * best[:, None] + place[:, None].float() + y.min(1).values[:, None]


class Normalised(nn.Module):
    """Biases of which normalisations take everything away: of a convolution, and of a layer that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.layer, self.head = nn.Conv1d(2, 4, 2), nn.Linear(4, 4), nn.Linear(4, 3)
        self.norms = nn.ModuleList([nn.BatchNorm1d(4) for _ in range(3)])

    def forward(self, x: Any) -> Any:
        x = self.norms[0](self.first(x)).tanh().mean(2)
        for norm in self.norms[1:]:
            x = norm(self.layer(x)).tanh()
        return self.head(x)


class Made(nn.Module):
    """Tensors that are made inside, of the default dtype."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Any) -> Any:
        mixing = torch.eye(4) + 0.25 * torch.ones(4, 4).tril()
        places = torch.arange(4.0) + torch.full((4,), 0.5) + torch.zeros(4)
        return torch.tanh(self.layer(x) @ mixing.to(x.dtype) + places.to(x.dtype))


class Resized(nn.Module):
    """Images made larger and smaller in every way, and transposed convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(2, 4, 3, padding=1), nn.GroupNorm(2, 4)
        self.up = nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1, output_padding=1, groups=2, dilation=(2, 1))
        self.line, self.space = nn.ConvTranspose1d(4, 2, 3), nn.ConvTranspose3d(1, 1, 2, bias=False)

    def forward(self, x: Any) -> Any:
        resize = nn.functional.interpolate
        y = self.up(torch.tanh(self.norm(self.first(x))))
        y = resize(y, size=(5, 9), mode="bilinear") + resize(y, scale_factor=(0.7, 0.5), mode="nearest")[..., :5, :1]
        y = resize(y, size=(6, 5), mode="bicubic", align_corners=True) + resize(y, size=(6, 5), mode="nearest-exact")
        line = resize(self.line(y[:, :, 0]), scale_factor=1.5, mode="linear", align_corners=True)
        space = resize(self.space(y[:, :1, None]), size=(2, 3, 4), mode="trilinear")
        return line.flatten(1) + space.flatten(1)[:, :1] + resize(y, size=2, mode="area").sum((1, 2, 3))[:, None]


class Pools(nn.Module):
    """Windows of unequal size: at the rim, beyond it, and where an axis is no multiple of them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 3, 2)
        self.pools = nn.ModuleList(
            [
                nn.AvgPool2d(3, 2, padding=1, count_include_pad=False),
                nn.AvgPool2d((2, 3), 2, padding=1, ceil_mode=True),
                nn.MaxPool2d(3, 2, ceil_mode=True),
                nn.AdaptiveAvgPool2d((3, 2)),
                nn.AdaptiveMaxPool2d((2, 3)),
                nn.LPPool2d(3.0, 2),
            ]
        )
        self.deep = nn.ModuleList(
            [nn.MaxPool3d(2, padding=1), nn.AvgPool3d(2, divisor_override=3), nn.LocalResponseNorm(2)]
        )

    def forward(self, x: Any) -> Any:
        y = self.first(x)
        found = [pool(y.sigmoid()).flatten(1) for pool in self.pools]
        return torch.cat([*found, *(pool(y.sigmoid()[:, None]).flatten(1) for pool in self.deep)], 1)


class Ranks(nn.Module):
    """What is chosen by rank, running sums, and what is left of divisions; powers that are no products."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 6)

    def forward(self, x: Any) -> Any:
        z = self.layer(x).tanh()
        best, places = z.topk(3, 1)
        y = z.scatter(1, places, best.softmax(1)) + z.sort(0, descending=True).values.cumsum(1)
        y = y + z.kthvalue(2, 1, True).values + z.median(0).values + z.cumsum(0).gather(1, places).sum(1, keepdim=True)
        positive = z.abs() + 0.5
        y = y + positive.pow(1.3) + positive**z + 2.0**z + positive.log2() + positive.log10() + z.exp2() + z.tan()
        y = y + z.fmod(0.7) + z.remainder(0.3) + z.frac() + (z - (3 * z).detach().round())
        y = y + torch.lerp(z, x[:, :1], z.sigmoid())
        return nn.functional.pad((y / 16).tanh(), (1, -1, 0, 1), value=0.75)  # where tanh is not flat


class Chosen(nn.Module):
    """Elements that masks and positions choose, write and add to; rims, products, distances."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.shrink = nn.Linear(4, 6), nn.ModuleList([nn.Softshrink(0.2), nn.Hardshrink(0.3)])

    def forward(self, x: Any) -> Any:
        y = self.layer(x).tanh()
        odd = torch.arange(36).reshape(6, 6) % 3 == 1
        y = y.masked_scatter(odd, (2 * y).masked_select(y.detach() > -0.5).repeat(2)) + y.masked_select(odd[0]).sum()
        y = y.put(torch.tensor([1, 8, -1]), y[0, :3] * 3) + y.put(torch.tensor([2, 2]), y[1, :2], accumulate=True)
        y = y.diagonal_scatter(y[0, :5].exp(), 1) + y.take(torch.tensor([0, 5, 5, 2, 1, 0]))
        y.index_add_(0, torch.tensor([0, 0]), y[:2].clone()).index_copy_(1, torch.tensor([4]), y[:, :1].clone())
        y = y.index_fill(1, torch.tensor([3]), 0.1) + sum(shrink(y) for shrink in self.shrink)
        wide = nn.functional.pad(y[None], (2, 1, 1, 0), mode="replicate")[0]
        line = nn.functional.pad(wide[None, :6, :4], (1, 1), mode="replicate")[0]
        y = (
            wide[:6, 3:]
            + line
            + nn.functional.pad(y[None, None, None], (1, 0, 0, 0, 1, 1), mode="replicate")[0, 0, 1, :, 1:]
        )
        y = y.tanh()
        return y.cumprod(1) + (1 + y / 2).prod(1, keepdim=True) + torch.cdist(y, 2 * y + 1) / 8 + (1 + y / 9).prod()


class Bags(nn.Module):
    """Bags of embeddings, added and averaged."""

    def __init__(self) -> None:
        super().__init__()
        self.added, self.mean = nn.EmbeddingBag(9, 4, mode="sum", padding_idx=3), nn.EmbeddingBag(9, 4)
        self.head = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))

    def forward(self, tokens: Any, starts: Any, factors: Any) -> Any:
        return self.head(torch.tanh(self.added(tokens, starts, factors) * self.mean(tokens, starts)))


def _labels(count: int, classes: int) -> Any:
    return torch.arange(count) % classes


def _entropy(result: Any) -> Any:
    return nn.functional.cross_entropy(result, _labels(len(result), result.shape[1]))


def _curve(result: Any) -> Any:
    first = result[0] if isinstance(result, tuple) else result
    return (first.exp() * torch.linspace(0.5, 1.0, first.shape[-1], dtype=torch.float64).to(first.dtype)).mean()


def _penalty(result: Any) -> Any:
    slope = torch.autograd.grad(result.exp().sum(), result, create_graph=True)[0]
    return result.sum() + slope.square().sum()


def _cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.Conv2d(4, 4, (3, 2), stride=(2, 1), groups=2, dilation=(1, 2)),
        nn.SiLU(),
        nn.AvgPool2d(2, stride=1),
        nn.Flatten(),
        nn.LazyLinear(3),
    )


def _cell(kind: str) -> nn.Module:
    class Unrolled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = getattr(nn, kind)(3, 4)

        def forward(self, x: Any) -> Any:
            state = None
            for row in x.unbind(1):
                state = self.cell(row, state)
            return state

    return Unrolled()


def _llama() -> Case:
    import transformers

    config = transformers.LlamaConfig(
        vocab_size=13,
        hidden_size=8,
        intermediate_size=12,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=16,
    )
    tokens = torch.tensor([[1, 5, 2, 12, 7, 2], [0, 3, 3, 9, 11, 4]])
    return Case(transformers.LlamaForCausalLM(config), keywords={"input_ids": tokens, "labels": tokens})


def _gpt2() -> Case:
    import transformers

    config = transformers.GPT2Config(
        vocab_size=13, n_positions=16, n_embd=8, n_layer=2, n_head=2, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0
    )
    tokens = torch.tensor([[1, 5, 2, 12, 7, 2], [0, 3, 3, 9, 11, 4]])
    return Case(transformers.GPT2LMHeadModel(config), keywords={"input_ids": tokens, "labels": tokens})


def _vit() -> Case:
    import transformers

    config = transformers.ViTConfig(
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=12,
        image_size=8,
        patch_size=4,
        num_labels=3,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    net = transformers.ViTForImageClassification(config)
    return Case(net, (torch.randn(2, 3, 8, 8),), lambda result: _entropy(result.logits))


def _encoder(norm_first: bool) -> nn.Module:
    return nn.TransformerEncoderLayer(8, 2, 12, 0.0, "gelu", batch_first=True, norm_first=norm_first)


MODELS: dict[str, Callable[[], Case]] = {
    "mlp": lambda: Case(
        nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 6), nn.GELU(), nn.Linear(6, 3)),
        (torch.randn(5, 4),),
        _entropy,
    ),
    "relu mlp": lambda: Case(
        nn.Sequential(nn.Linear(4, 8), nn.ReLU(inplace=True), nn.Linear(8, 3), nn.LeakyReLU(), nn.Softplus()),
        (torch.randn(5, 4),),
        lambda y: nn.functional.mse_loss(y, torch.zeros_like(y)),
    ),
    "residual": lambda: Case(Residual(), (torch.randn(5, 6),), _entropy),
    "cnn": lambda: Case(_cnn(), (torch.randn(3, 2, 9, 11),), _entropy),
    "rnn": lambda: Case(nn.RNN(3, 4, batch_first=True), (torch.randn(2, 5, 3),), _curve),
    "gru": lambda: Case(nn.GRU(3, 4), (torch.randn(5, 2, 3),), _curve),
    "lstm": lambda: Case(nn.LSTM(3, 4, num_layers=2, bidirectional=True), (torch.randn(4, 2, 3),), _curve),
    "rnn cell": lambda: Case(_cell("RNNCell"), (torch.randn(2, 4, 3),), _curve),
    "gru cell": lambda: Case(_cell("GRUCell"), (torch.randn(2, 4, 3),), _curve),
    "lstm cell": lambda: Case(_cell("LSTMCell"), (torch.randn(2, 4, 3),), _curve),
    "encoder": lambda: Case(_encoder(False), (torch.randn(2, 4, 8),), _curve),
    "encoder, norm first": lambda: Case(_encoder(True), (torch.randn(2, 4, 8),), _curve),
    "views": lambda: Case(Views(), (torch.randn(6, 4),), _curve),
    "tied": lambda: Case(Tied(), (torch.tensor([[1, 5, 2], [2, 2, 6]]),), _entropy),
    "gradient penalty": lambda: Case(nn.Sequential(nn.Linear(4, 4), nn.Tanh()), (torch.randn(3, 4),), _penalty),
    "autocast": lambda: Case(Mixed(), (torch.randn(3, 4),), _curve),
    "bfloat16": lambda: Case(Residual().bfloat16(), (torch.randn(5, 6).bfloat16(),), _entropy),
    "group norm": lambda: Case(
        nn.Sequential(nn.Conv1d(3, 4, 2), nn.GroupNorm(2, 4), nn.ELU()), (torch.randn(2, 3, 6),), _curve
    ),
    "resized": lambda: Case(Resized(), (torch.randn(2, 2, 4, 5),), _curve),
    "pools": lambda: Case(Pools(), (torch.randn(2, 2, 7, 9),), _curve),
    "ranks": lambda: Case(Ranks(), (torch.randn(5, 4),), _curve),
    "chosen": lambda: Case(Chosen(), (torch.randn(6, 4),), _curve),
    "bags": lambda: Case(
        Bags(), (torch.tensor([1, 5, 3, 2, 8, 5]), torch.tensor([0, 3, 3]), torch.linspace(0.5, 1.0, 6)), _entropy
    ),
    "made inside": lambda: Case(Made(), (torch.randn(3, 4),), _entropy),
    "masked": lambda: Case(Masked(), (torch.randn(6, 4),), _curve),
}
HUGGING_FACE: dict[str, Callable[[], Case]] = {"llama": _llama, "gpt2": _gpt2, "vit": _vit}
WITHOUT_SLOPE: dict[str, Callable[[], Case]] = {
    "normalised": lambda: Case(Normalised(), (torch.randn(7, 2, 5),), _entropy)
}
"""Models with gradients that are nothing but rounding errors."""
NO_TRANSFORMERS = pytest.mark.skipif(find_spec("transformers") is None, reason="transformers is not installed")
NAMES = [*MODELS, *(pytest.param(name, marks=NO_TRANSFORMERS) for name in HUGGING_FACE)]
"""Every model, for tests that are run with each."""


def make(name: str) -> Case:
    """Return a case with fixed weights and inputs, after lazy shapes are known."""
    torch.manual_seed(3)
    case = {**MODELS, **HUGGING_FACE, **WITHOUT_SLOPE}[name]()
    if any(isinstance(one, nn.parameter.UninitializedParameter) for one in case.module.parameters()):
        with torch.no_grad():
            case.module.eval()(*case.inputs)
    case.module.train()
    return case
