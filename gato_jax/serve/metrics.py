"""Counters of a server in Prometheus' text format.

Each server has its own registry, so that several servers fit into one process.
"""

import prometheus_client
from prometheus_client import Counter, Gauge, Histogram

from gato_jax.serve import protocol

_PREFIX = "gato_serve_"
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
  """Counters of one server, beside memory and file descriptors of the process.

  Attributes:
    registry: Holds all of them.
    step_seconds: Time of `act` messages.
    batch_seconds: Time of calls of the engine.
    batch_size: Sessions per call.
    steps: Actions computed, by task.
    episodes: Episodes started, by task.
    refused: Requests and connections refused, by reason.
    sessions: Open sessions.
    connections: Open connections.
    ready: 1 while the server takes new sessions.
  """

  def __init__(self, session_limit: int):
    self.registry = registry = prometheus_client.CollectorRegistry()
    prometheus_client.ProcessCollector(registry=registry)

    self.step_seconds = Histogram(
      _PREFIX + "step_seconds",
      "An act message, from received to its reply ready.",
      registry=registry,
      buckets=_SECONDS,
    )
    self.batch_seconds = Histogram(
      _PREFIX + "batch_seconds", "One call of the engine.", registry=registry, buckets=_SECONDS
    )
    self.batch_size = Histogram(
      _PREFIX + "batch_size", "Sessions in one call.", registry=registry, buckets=_SIZES
    )
    self.steps = Counter(_PREFIX + "steps", "Actions computed.", ["task"], registry=registry)
    self.episodes = Counter(_PREFIX + "episodes", "Episodes started.", ["task"], registry=registry)
    self.refused = Counter(
      _PREFIX + "refused", "Requests and connections refused.", ["reason"], registry=registry
    )

    self.sessions = Gauge(_PREFIX + "sessions", "Open sessions.", registry=registry)
    self.connections = Gauge(_PREFIX + "connections", "Open connections.", registry=registry)
    self.ready = Gauge(_PREFIX + "ready", "1 when it takes new sessions.", registry=registry)
    limit = Gauge(_PREFIX + "session_limit", "Sessions at most.", registry=registry)
    limit.set(session_limit)

    # Every series exists from the start, so that its rate is right from the first refusal.
    for reason in protocol.REASONS:
      self.refused.labels(reason)

  def text(self) -> str:
    """Renders the counters in Prometheus' text format."""
    return prometheus_client.generate_latest(self.registry).decode()
