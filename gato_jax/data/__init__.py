"""Episodes and documents -> training batches, the only part of the library that uses TensorFlow.

Configs and the processes of simulators import `mixture`, `demonstrations` and `freshness`, which
therefore import no TensorFlow.
"""
