"""A lab's manifests under a name that is the test's own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from k8snetlab.state import scenarios


@contextmanager
def renamed(source: str, name: str) -> Iterator[str]:
    """A path to the manifests of a directory, a file or a scenario, in which a Lab that has a name is called `name`.

    Every line stays where it is, so that errors name the line of the original.
    """
    files = scenarios.find(source)
    texts = [named(text, name) for _, text in files]
    if all(text == before for text, (_, before) in zip(texts, files, strict=True)):
        yield source
        return
    with tempfile.TemporaryDirectory(prefix="k8snetlab-") as directory:
        for (file, _), text in zip(files, texts, strict=True):
            Path(directory, Path(file).name).write_text(text)
        yield directory


def named(text: str, name: str) -> str:
    """The manifest with the name of each Lab replaced where it stands; as it is where it is no YAML."""
    try:
        places = [mark for document in yaml.compose_all(text, yaml.SafeLoader) if (mark := _name_of_lab(document))]
    except yaml.YAMLError:
        return text
    for start, end in reversed(places):
        text = text[:start] + name + text[end:]
    return text


def _name_of_lab(document: yaml.Node | None) -> tuple[int, int] | None:
    """Where the name begins and ends: offsets in characters."""
    kind, metadata = _value(document, "kind"), _value(document, "metadata")
    held = _value(metadata, "name")
    if kind is None or kind.value != "Lab" or not isinstance(held, yaml.ScalarNode):
        return None
    return held.start_mark.index, held.end_mark.index


def _value(node: yaml.Node | None, key: str) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if name.value == key:
                found: yaml.Node = value
                return found
    return None
