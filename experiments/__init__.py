import os

# A verb prints its own output and nothing else: progress, results, errors. JAX also sets this
# variable when it is imported, so it is set here, before any verb imports JAX. The package `cli`
# then silences the start-up messages of TensorFlow, which must happen before any import as well.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import experiments.cli  # noqa: E402, F401
