"""What is set of a node's devices, kept in its annotations."""

from __future__ import annotations

import pytest

from k8snetlab.api.core import Node
from k8snetlab.api.link_settings import PREFIX, LinkSetting, link_settings, unread, with_setting
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.dataplane.shaping import shape


def node(**annotations: str) -> Node:
    own = {PREFIX + device: text for device, text in annotations.items()}
    return Node(metadata=ObjectMeta(name="node1", annotations=own))


def test_what_is_set_is_read_back_and_an_empty_setting_leaves_nothing() -> None:
    one = LinkSetting(shape(delay="50ms", loss="1%"))
    two = LinkSetting(shape(rate="1mbit"), down=True)
    held = with_setting(with_setting(node(), "eth0", one), "flannel.1", two)
    assert link_settings(held) == {"eth0": one, "flannel.1": two} and not unread(held)
    assert held.metadata.annotations[PREFIX + "flannel.1"] == "down, rate 1mbit"
    assert with_setting(with_setting(held, "eth0", LinkSetting()), "flannel.1", LinkSetting()) == node()


@pytest.mark.parametrize(
    ("device", "text"),
    [
        ("eth0", "fast"),
        ("eth0", ""),
        ("eth0", "down, fast"),
        ("../eth0", "down"),
        ("a" * 16, "down"),
        ("e 0", "down"),
    ],
)
def test_an_annotation_that_says_nothing_of_a_device_is_named_and_passed_over(device: str, text: str) -> None:
    held = node(**{device: text, "cni0": "down"})
    assert link_settings(held) == {"cni0": LinkSetting(down=True)}
    assert len(unread(held)) == 1
