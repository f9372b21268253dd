"""Felix's part of a node: the tunnel, the routes that no daemon makes, and the rules that masquerade.

Source: Calico felix/dataplane/linux (vxlan_mgr.go, route_manager.go, masq_mgr.go), felix/rules (nat.go).
"""

from k8snetlab.render.calico.felix import PORT, VNI, render

__all__ = ["PORT", "VNI", "render"]
