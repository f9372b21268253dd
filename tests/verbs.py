"""Every verb that is declared, whether or not somebody answers it."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from k8snetlab import messages
from k8snetlab.messages.verb import Verb

DECLARED: list[Verb[Any]] = [
    value
    for module in iter_modules(messages.__path__)
    for value in vars(import_module(f"{messages.__name__}.{module.name}")).values()
    if isinstance(value, Verb)
]
