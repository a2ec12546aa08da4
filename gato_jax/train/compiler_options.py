"""Options of XLA's compiler for the training step, by kind of device.

TPUs: they let the gathers of parameters, which are sharded over the mesh axis fsdp, run beside
products. Source: CF_FOR_ALL_GATHER of MaxText's benchmarks/xla_flags_library.py (Google), which
calls them on by default; with libtpu 0.0.42 they are not: without them the gathers of a step are
synchronous (launch/preflight.py prints what is overlapped). v2 and v3 are left as they are: the
list is of later generations.

CPUs: only products are left to the library YNNPACK. With its reductions, too, which jaxlib does by
default, a step of a network of width 64 takes 1.4 times as long, one of width 192 1.07 times.
"""

from collections.abc import Mapping

_ASYNCHRONOUS_GATHERS = {
  "xla_tpu_enable_async_collective_fusion": "true",
  "xla_tpu_enable_async_collective_fusion_fuse_all_gather": "true",
  "xla_tpu_enable_async_collective_fusion_multiple_steps": "true",
  "xla_tpu_overlap_compute_collective_tc": "true",
  "xla_enable_async_all_gather": "true",
}

_PRODUCTS_BY_LIBRARY = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_DOT"}

# JAX's device_kind -> options; the last four are v5e, v5p, v6e and Ironwood.
_OPTIONS: Mapping[str, Mapping[str, str]] = {
  "cpu": _PRODUCTS_BY_LIBRARY,
  "TPU v4": _ASYNCHRONOUS_GATHERS,
  "TPU v5 lite": _ASYNCHRONOUS_GATHERS,
  "TPU v5": _ASYNCHRONOUS_GATHERS,
  "TPU v6 lite": _ASYNCHRONOUS_GATHERS,
  "TPU7x": _ASYNCHRONOUS_GATHERS,
}


def options(device_kind: str) -> dict[str, str] | None:
  """Returns the `compiler_options` of jax.jit for a kind of device; None where it has none."""
  options = _OPTIONS.get(device_kind)
  return dict(options) if options else None
