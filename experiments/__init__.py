import os

from experiments import quiet

# A verb's output is its own: progress, results, errors. Here, since JAX sets the variable as it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
quiet.install()
