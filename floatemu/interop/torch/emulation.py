"""Models that compute in a recipe for a while: no module is changed, and nothing is left behind."""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from floatemu.errors import UnsupportedError
from floatemu.interop.torch.operations import BACKWARD, ENTERED, HANDLERS, LEFT, entered
from floatemu.interop.torch.products import State, product
from floatemu.interop.torch.recipes import Recipe, get_recipe


class Emulation:
    """A model and the recipe that it computes in within ``with``; made by :func:`emulate`.

    Attributes
    ----------
    module : torch.nn.Module
    recipe : Recipe
    counts : collections.Counter
        Operations made in the recipe, by (path of the module, operation).
    left : collections.Counter
        Other functions that multiply matrices, made as always, by (path, name).
    """

    def __init__(self, module: Any, recipe: Recipe) -> None:
        self.module = module
        self.recipe = recipe
        self.counts: Counter[tuple[str, str]] = Counter()
        self.left: Counter[tuple[str, str]] = Counter()
        self._state = State(recipe)
        self._paths: list[str] = []
        self._calls: Counter[str] = Counter()
        self._hooks: list[Any] = []
        self._mode: Any = None

    def __enter__(self) -> Emulation:
        if self._mode is not None:
            raise UnsupportedError("this emulation is already active; leave its `with` first")
        for path, module in self.module.named_modules():
            self._hooks.append(module.register_forward_pre_hook(partial(self._enter, path)))
            self._hooks.append(module.register_forward_hook(self._leave, always_call=True))
        self._mode = _Mode(self)
        self._mode.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        mode, self._mode = self._mode, None
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self._paths.clear()
        mode.__exit__(*error)

    def _enter(self, path: str, *unused: Any) -> None:
        if not self._paths:
            self._calls.clear()
        self._paths.append(path)

    def _leave(self, *unused: Any) -> None:
        if self._paths:
            self._paths.pop()

    def applies(self) -> bool:
        """Whether a call made now is the model's, in a module that takes part."""
        path = self._paths[-1] if self._paths else None
        if path is None:
            return False
        return not any(fnmatchcase(path, p) or fnmatchcase(path, f"{p}.*") for p in self.recipe.skip)

    def run(self, function: Any, args: Any, kwargs: Any) -> Any:
        """Make one of torch's functions in the recipe."""
        operation, make = HANDLERS[function]
        path = self._paths[-1]

        def multiply(a: Any, b: Any, weight: str = "") -> Any:
            self._calls[path] += 1
            return product(a, b, self._state, f"{path}#{self._calls[path]}", weight)

        elsewhere = kwargs.get("out") is not None or kwargs.get("out_dtype") is not None
        named = {key: value for key, value in kwargs.items() if key not in ("input", "out", "out_dtype")}
        first = (kwargs["input"],) if "input" in kwargs else ()
        made = NotImplemented if elsewhere else make(multiply, *first, *args, **named)
        if made is NotImplemented:
            self.note(function)
            return function(*args, **kwargs)
        self.counts[path, operation] += 1
        return made

    def note(self, function: Any) -> None:
        """Count a function that is left as it is."""
        self.left[self._paths[-1], function.__name__] += 1


class _Mode(TorchFunctionMode):  # type: ignore[misc]
    def __init__(self, emulation: Emulation) -> None:
        super().__init__()
        self.emulation = emulation

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, emulation = kwargs or {}, self.emulation
        if func in BACKWARD:
            with self:
                return entered(func)(*args, **kwargs)
        if not emulation.applies():
            return func(*args, **kwargs)
        if func in ENTERED:
            with self:
                return entered(func)(*args, **kwargs)
        if func in HANDLERS and HANDLERS[func][0] in emulation.recipe.operations and _floating(args):
            return emulation.run(func, args, kwargs)
        if func in LEFT or func in HANDLERS:
            emulation.note(func)
        return func(*args, **kwargs)


def _floating(args: Any) -> bool:
    return all(x.is_floating_point() for x in args[:2] if isinstance(x, torch.Tensor))


def emulate(module: Any, recipe: Recipe | str = "fp8_tensor") -> Emulation:
    """Make a model's linear, convolutional and recurrent layers, attention and products compute in a recipe.

    Parameters
    ----------
    module : torch.nn.Module
        As it is; its parameters, ``state_dict`` and code stay untouched.
    recipe : Recipe or str
        One of ``RECIPES``, your own, or a policy's (``analysis.Policy.recipe``).

    Returns
    -------
    Emulation
        A context manager. Only calls that the model makes within it are emulated; gradients of such calls are, also
        when ``backward`` runs later. It may be entered again: delayed scales go on from where they were.

    Raises
    ------
    UnsupportedError
        If ``module`` is no module or has scripted or compiled parts, or the recipe is unknown.
    ProjectionError
        Within ``with``, if the model makes a product in one of ``torch.func``'s transforms, such as ``vmap``.

    Notes
    -----
    Weights, activations and gradients are what a training step on scaled formats makes of them; sums are binary32
    products of torch, or a matrix unit's (``Recipe.units``). Everything else, softmax and normalisation
    included, stays in the model's own dtype. With activation checkpointing call ``backward`` within ``with``, where the
    recomputation is emulated as the first was.

    Examples
    --------
    >>> import torch
    >>> import floatemu.interop.torch as ft
    >>> model = torch.nn.Linear(2, 1, bias=False)
    >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 0.1]]))
    >>> with ft.emulate(model, "fp8_tensor") as emulation:
    ...     inside = model(torch.ones(1, 2)).item()
    >>> inside, model(torch.ones(1, 2)).item(), dict(emulation.counts)
    (1.0982143878936768, 1.100000023841858, {('', 'linear'): 1})
    """
    if not isinstance(module, torch.nn.Module):
        raise UnsupportedError(f"module is {type(module).__name__}; give a torch.nn.Module")
    for path, one in module.named_modules():
        scripted = isinstance(one, torch.jit.ScriptModule)
        if scripted or hasattr(one, "_orig_mod") or getattr(one, "_compiled_call_impl", None) is not None:
            raise UnsupportedError(
                f"{path or type(module).__name__} is {'a ScriptModule' if scripted else 'compiled'}, which shows "
                "nothing of the functions that it calls; give the model with the module as it was before"
            )
    return Emulation(module, get_recipe(recipe))
