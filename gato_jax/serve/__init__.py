"""A policy behind a socket (docs/serving.md). `client` and `protocol` need neither JAX nor TensorFlow."""
