"""kube-scheduler and kube-controller-manager as processes of their own, several of each."""

__all__: list[str] = []
