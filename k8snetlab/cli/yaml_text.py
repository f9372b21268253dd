"""Objects as YAML, quoted as kubectl quotes them: a string that would be read as something else stands in "…"."""

from __future__ import annotations

import re
from typing import Any

import yaml

_OTHER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?|[yYnN]")
"""What is no string to other readers of YAML, though one to PyYAML."""


class _Dumper(yaml.SafeDumper):
    pass


def _string(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    tag = dumper.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    plain = text and tag == "tag:yaml.org,2002:str" and not _OTHER.fullmatch(text)
    style = "|" if "\n" in text else None if plain else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _string)
_Dumper.ignore_aliases = lambda self, data: True  # type: ignore[method-assign]


def as_yaml(value: Any) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**6)
