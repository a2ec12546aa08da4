"""The libraries that verbs import, for the server of commands.py."""

import arch.bootstrap  # noqa: F401
import flax  # noqa: F401
import jax  # noqa: F401
import jinja2  # noqa: F401
import matplotlib.backends.backend_agg  # noqa: F401
import ml_collections  # noqa: F401
import optax  # noqa: F401
import orbax.checkpoint  # noqa: F401
import rich.table  # noqa: F401
import rlds  # noqa: F401
import sacrebleu.metrics  # noqa: F401
import scipy.optimize  # noqa: F401
import seqio  # noqa: F401
import sklearn.manifold  # noqa: F401
import statsmodels.stats.multitest  # noqa: F401
import tensorboardX  # noqa: F401
import tensorflow as tf

# As gato_jax/data/tensorflow_cpu.py does. Where there is CUDA and no GPU, it is reported once.
tf.config.set_visible_devices([], "GPU")
