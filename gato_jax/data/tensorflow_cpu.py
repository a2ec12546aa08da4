"""Keeps TensorFlow off the accelerators. Import this module before anything uses TensorFlow."""

import tensorflow as tf

# TensorFlow would otherwise reserve the GPU memory that JAX needs. The devices are fixed once
# TensorFlow has run its first operation, so this happens at import.
tf.config.set_visible_devices([], "GPU")
