"""Names and uids that a real cluster draws at random, drawn here from hashes: the same lab looks the same everywhere.

Source of the alphabet and the look: apimachinery pkg/util/rand (SafeEncodeString), controller_utils.ComputeHash.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Container, Iterator

import msgspec

from k8snetlab.api.core import PodTemplateSpec
from k8snetlab.api.meta import Object, OwnerReference

ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels and no 0, 1 and 3, so that no words come out."""
MAX_GENERATED = 63
_VARIANTS = "89ab" * 4
"""RFC 9562: the seventeenth digit of a uid has two bits that are its own. The thirteenth is its version."""


def uid(obj: Object, revision: int) -> str:
    """The uid of an object created at a revision: one that is created again gets another."""
    text = hashlib.sha256(f"{obj.KIND}/{obj.namespace}/{obj.name}/{revision}".encode()).hexdigest()
    variant = _VARIANTS[int(text[16], 16)]
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{variant}{text[17:20]}-{text[20:32]}"


def names(base: str, seed: str = "") -> Iterator[str]:
    """`base` and five characters, cut to a DNS label, without an end and always in the same order."""
    return (_name(base, seed, number) for number in itertools.count())


@functools.lru_cache(maxsize=1 << 16)
def _name(base: str, seed: str, number: int) -> str:
    digest = hashlib.sha256(f"{base}/{seed}/{number}".encode()).digest()
    suffix = "".join(ALPHABET[byte % len(ALPHABET)] for byte in digest[:5])
    return f"{base}-"[: MAX_GENERATED - 5] + suffix


def generated(base: str, taken: Container[str], seed: str = "") -> str:
    """The first of `names` that is not among the `taken` ones. For many of one base, walk along `names`."""
    return next(name for name in names(base, seed) if name not in taken)


def template_hash(template: PodTemplateSpec) -> str:
    """The pod-template-hash of a template, ten characters or less, such as 5d4f8c7b9."""
    digest = hashlib.sha256(msgspec.json.encode(template, order="deterministic")).digest()
    number = str(int.from_bytes(digest[:4], "big"))
    return "".join(ALPHABET[ord(digit) % len(ALPHABET)] for digit in number)


def owned_by(owner: Object) -> OwnerReference:
    return OwnerReference(
        apiVersion=owner.API_VERSION,
        kind=owner.KIND,
        name=owner.name,
        uid=owner.metadata.uid,
        controller=True,
        blockOwnerDeletion=True,
    )


def controller_of(obj: Object) -> OwnerReference | None:
    return next((o for o in obj.metadata.ownerReferences if o.controller), None)
