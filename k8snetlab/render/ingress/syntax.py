"""nginx' syntax: how any text becomes one word of its configuration, and never more.

Source: nginx src/core/ngx_conf_file.c (ngx_conf_read_token): in double quotes a backslash keeps a quote or a backslash
from its meaning, and stands for itself before anything else but t, r and n.
"""

from __future__ import annotations

import re

from k8snetlab.render.ingress.model import Origin

DOLLAR = "${literal_dollar}"
"""A variable that holds a dollar sign: nginx has no other way to write one where variables are read."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_REGEX_SIGNS = re.compile(r"([\\.+*?^$|(){}\[\]])")


def is_plain(text: str) -> bool:
    """Whether it holds no control character, which no host, path or header has."""
    return not _CONTROL.search(text)


def word(text: str) -> str:
    """One word, where variables are not read: a location's path, a regular expression."""
    return '"' + _CONTROL.sub("", text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def value(text: str) -> str:
    """One word, where variables are read: none of the text is one."""
    return word(text).replace("$", DOLLAR)


def regex(text: str) -> str:
    """The text as a part of a regular expression that means just it."""
    return _REGEX_SIGNS.sub(r"\\\1", text)


class Writer:
    """Lines of a configuration, each with where it comes from."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.origins: list[Origin | None] = []
        self._depth = 0
        self._origin: Origin | None = None

    def comes_from(self, origin: Origin | None) -> None:
        """Of all lines from now on."""
        self._origin = origin

    def put(self, *lines: str) -> None:
        indent = "\t" * self._depth
        for line in lines:
            self.lines.append(indent + line if line else "")
            self.origins.append(self._origin)

    def open(self, head: str) -> None:
        self.put(f"{head} {{")
        self._depth += 1

    def close(self) -> None:
        self._depth -= 1
        self.put("}")

    @property
    def text(self) -> str:
        return "\n".join(self.lines) + "\n"
