"""Kubernetes and Lab objects as frozen typed values; attribute names are the API's own field names."""
