"""kubeconfig: how kubectl and other clients reach the lab's API."""

from __future__ import annotations

from typing import Literal

import msgspec

from k8snetlab.messages.verb import Call

ApiUser = Literal["admin", "view"]


class KubeconfigFor(msgspec.Struct, frozen=True):
    """Who is to be let in. The API listens from then on, where it did not yet."""

    user: ApiUser = "admin"
    """admin may do everything, view may look."""


class ApiAccess(msgspec.Struct, frozen=True):
    """What a client needs to reach the API."""

    lab: str
    """Its name."""
    server: str
    """Where it listens: https://127.0.0.1:6443."""
    user: str
    """Who is let in."""
    certificateAuthority: str
    """The CA's certificate, PEM."""
    clientCertificate: str
    """The user's certificate, PEM; good for a year."""
    clientKey: str
    """Its key, PEM: whoever has it is the user."""


KUBECONFIG: Call[KubeconfigFor, ApiAccess] = Call("kubeconfig", "POST", "kubeconfig", KubeconfigFor, ApiAccess)
