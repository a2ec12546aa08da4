import os

# A verb prints its own output and nothing else: progress, results, errors. JAX also sets this
# variable when it is imported, so it is set here, before any verb imports JAX. TensorFlow's
# start-up messages have to be silenced before anything imports it, too.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from experiments import quiet  # noqa: E402

quiet.install()
