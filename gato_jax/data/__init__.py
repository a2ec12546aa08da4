"""Episodes -> batches; the only TensorFlow of the library. Never imported in a simulator's process."""

import tensorflow as tf

tf.config.set_visible_devices([], "GPU")  # TensorFlow would grab the memory that JAX needs
