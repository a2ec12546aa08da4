"""What the server counts, as Prometheus text; a registry of its own, so that several servers fit into one process."""

import prometheus_client
from prometheus_client import Counter, Gauge, Histogram

from gato_jax.serve import protocol

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
  """Counters of one server; `text` renders them, memory and file descriptors of the process beside them."""

  def __init__(self, session_limit: int):
    self.registry = registry = prometheus_client.CollectorRegistry()
    prometheus_client.ProcessCollector(registry=registry)
    name = "gato_serve_"
    self.step_seconds = Histogram(
      name + "step_seconds", "An act message, from received to its reply ready.", registry=registry, buckets=_SECONDS
    )
    self.batch_seconds = Histogram(
      name + "batch_seconds", "One call of the engine.", registry=registry, buckets=_SECONDS
    )
    self.batch_size = Histogram(name + "batch_size", "Sessions in one call.", registry=registry, buckets=_SIZES)
    self.steps = Counter(name + "steps", "Actions computed.", ["task"], registry=registry)
    self.episodes = Counter(name + "episodes", "Episodes started.", ["task"], registry=registry)
    self.refused = Counter(name + "refused", "Requests and connections refused.", ["reason"], registry=registry)
    self.sessions = Gauge(name + "sessions", "Open sessions.", registry=registry)
    self.connections = Gauge(name + "connections", "Open connections.", registry=registry)
    self.ready = Gauge(name + "ready", "1 when it takes new sessions.", registry=registry)
    Gauge(name + "session_limit", "Sessions at most.", registry=registry).set(session_limit)
    for reason in protocol.REASONS:
      self.refused.labels(reason)  # a series that is there from the start: its rate is right from the first refusal

  def text(self) -> str:
    return prometheus_client.generate_latest(self.registry).decode()
