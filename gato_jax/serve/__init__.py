"""Serves a policy over WebSockets (docs/serving.md). `client` and `protocol` import no JAX."""
