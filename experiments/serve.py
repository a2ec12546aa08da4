"""Puts a checkpoint behind a socket: python -m experiments.serve --config=experiments/configs/demo.py

Robots and simulators elsewhere connect with gato_jax.serve.client (docs/serving.md has the three lines). It listens to
this machine alone; with another --host a token is required: openssl rand -hex 32 > token; chmod 600 token.
SIGTERM or Ctrl-C: no new episodes, those that run may finish within --drain_seconds; a second one ends them, too.
"""

import functools

from absl import flags

from experiments import cli
from gato_jax import agent
from gato_jax.errors import GatoError
from gato_jax.serve import front, server

_HOST = flags.DEFINE_string("host", front.Address.host, "Name or address to listen on; 0.0.0.0 for all of IPv4.")
_PORT = flags.DEFINE_integer("port", front.Address.port, "Port; 0 picks a free one.", 0, 65535)
_TOKEN_FILE = flags.DEFINE_string(
  "token_file", "", f"File (chmod 600) with the token that clients must know; else ${front.TOKEN_VARIABLE}."
)
_TLS_CERT = flags.DEFINE_string("tls_cert", "", "PEM file: the certificate, then those that lead to its authority.")
_TLS_KEY = flags.DEFINE_string("tls_key", "", "PEM file: its key, without a password.")
_PLAIN_TEXT = flags.DEFINE_bool("plain_text", False, "Serve other machines without TLS: in a VPN, behind a proxy.")
_DRAIN = flags.DEFINE_float("drain_seconds", 30.0, "How long running episodes may go on after SIGTERM.", 0.0)
_TASKS = flags.DEFINE_list("tasks", [], "Some of the checkpoint's tasks, as domain.task; all by default.")
_STEP = flags.DEFINE_integer("step", None, "Of the checkpoint; the newest by default.")

_say = functools.partial(print, "serve:", flush=True)


def main(experiment: cli.Experiment) -> None:
  address = front.Address(
    host=_HOST.value, port=_PORT.value, token=front.read_token(_TOKEN_FILE.value), tls_cert=_TLS_CERT.value,
    tls_key=_TLS_KEY.value, plain_text=_PLAIN_TEXT.value,
  )  # fmt: skip
  address.ssl_context()  # a wrong file is said now, not after a minute
  config = experiment.section(server.ServeConfig, "serve")
  policy = agent.Policy(experiment.workdir, _STEP.value)
  task_specs = {task: policy.spec(task) for task in _TASKS.value or policy.tasks}
  task_specs = {task: spec for task, spec in task_specs.items() if not spec.is_document}
  if not task_specs:
    raise GatoError(f"the checkpoint in {experiment.workdir} knows no task to act in")
  engine = policy.engine(list(task_specs), config.sessions, experiment.section(agent.ActConfig, "act"))
  _say(f"checkpoint {policy.step} of {experiment.workdir}; tasks: {', '.join(task_specs)}")
  server.run(lambda: server.Server(engine, task_specs, policy.step, config, address, _say), _DRAIN.value)


if __name__ == "__main__":
  cli.run(main)
