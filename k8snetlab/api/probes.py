"""What is asked of a container while it runs, and what it does when it begins and ends.

Source: Kubernetes API reference, core/v1 (Probe, Lifecycle); the defaults of pkg/apis/core/v1/defaults.go.
"""

from __future__ import annotations

from typing import Annotated, Literal

from k8snetlab.api.meta import OrBlank, Value, always


class ExecAction(Value):
    """Exit code 0 is success."""

    command: tuple[str, ...] = ()


class HTTPHeader(Value):
    name: str
    value: str


class HTTPGetAction(Value):
    """A status from 200 to 399 is success. `port` may be the name of one of the container's; `host` "": the pod's
    address."""

    port: int | str
    path: Annotated[str, OrBlank] = always("/")
    host: str = ""
    scheme: Annotated[Literal["HTTP", "HTTPS"], OrBlank] = always("HTTP")
    httpHeaders: tuple[HTTPHeader, ...] = ()


class TCPSocketAction(Value):
    """A connection is success."""

    port: int | str
    host: str = ""


class GRPCAction(Value):
    """A health service that says SERVING is success: of `service`, or of the whole server where none is named."""

    port: int
    service: str = ""


class SleepAction(Value):
    seconds: int


class Probe(Value):
    """One of the four ways to ask. After `initialDelaySeconds` it is asked every `periodSeconds`; so many answers in a
    row, `successThreshold` and `failureThreshold`, are a verdict."""

    exec: ExecAction | None = None
    httpGet: HTTPGetAction | None = None
    tcpSocket: TCPSocketAction | None = None
    grpc: GRPCAction | None = None
    initialDelaySeconds: int = 0
    timeoutSeconds: int = always(1)
    periodSeconds: int = always(10)
    successThreshold: int = always(1)
    failureThreshold: int = always(3)
    terminationGracePeriodSeconds: int | None = None


class LifecycleHandler(Value):
    exec: ExecAction | None = None
    httpGet: HTTPGetAction | None = None
    tcpSocket: TCPSocketAction | None = None
    sleep: SleepAction | None = None


class Lifecycle(Value):
    """`postStart` is done beside the container's beginning, `preStop` before it is told to end."""

    postStart: LifecycleHandler | None = None
    preStop: LifecycleHandler | None = None
    stopSignal: str | None = None
