"""Captions, answers, continues a text: python -m experiments.generate --config=... --image=cat.png

--image=ball.png --question="what colour is the ball?" answers and --text="Once" continues. Without
any of them, or with --chat, questions are read line by line from standard input until Ctrl-D. Only
the network's words go to standard output.
"""

import random
import sys
from collections.abc import Iterator

from absl import flags

from experiments import cli
from gato_jax import agent, documents
from gato_jax.agent import generation
from gato_jax.errors import GatoError
from rlds_builders.files import images

_IMAGE = flags.DEFINE_string("image", "", "Path of an image to caption, or to speak about.")
_QUESTION = flags.DEFINE_string("question", "", "A question to answer.")
_TEXT = flags.DEFINE_string(
  "text", "", "A text to continue, which follows the image where there is one."
)
_CHAT = flags.DEFINE_bool(
  "chat",
  False,
  "Holds a dialogue: each line of standard input is a question, and the network remembers all "
  "turns.",
)
_TEMPERATURE = flags.DEFINE_float(
  "temperature", 0.9, "Temperature of sampling; 0 takes the most likely token.", 0.0
)
_MAX_TOKENS = flags.DEFINE_integer(
  "max_tokens", 64, "Largest number of tokens that the network writes for one answer.", 1
)
_SEED = flags.DEFINE_integer(
  "seed", None, "Seed of sampling; by default one is drawn and printed.", 0
)
_SIDE = flags.DEFINE_integer(
  "side", None, "Pixels of the image's longer side; config.images.side by default."
)
_SAMPLES = flags.DEFINE_integer(
  "samples", 1, "How many captions, answers or continuations are written, one a line.", 1
)
_STEP = flags.DEFINE_integer(
  "step", None, "Training step of the checkpoint to use; the newest by default."
)


def main(experiment: cli.Experiment) -> None:
  chat = _CHAT.value or not (_IMAGE.value or _QUESTION.value or _TEXT.value)
  modes = sum(map(bool, (_QUESTION.value, _TEXT.value, chat)))
  if modes > 1 or (chat and _SAMPLES.value > 1):
    raise GatoError(
      "--question, --text and --chat exclude each other, and --chat has one answer; "
      "choose one of them"
    )

  side = experiment.config.images.side if _SIDE.value is None else _SIDE.value
  images_shown = [images.fit(_IMAGE.value, side)] if _IMAGE.value else []

  policy = agent.Policy(experiment.workdir, _STEP.value)
  checkpoint_name = f"checkpoint {policy.step} of {experiment.workdir}"
  if not any(policy.spec(task).is_document for task in policy.tasks):
    say(f"warning: {checkpoint_name} was never trained on text; it knows no words\n")

  seed = random.randrange(2**31) if _SEED.value is None else _SEED.value
  say(f"{checkpoint_name}, seed {seed}\n")

  network = policy.text_generator()
  if chat:
    network.read(images_shown)
    for turn, question in enumerate(questions()):
      network.read([documents.ask(question)])
      write(network, seed + turn)
      # In training, too, an answer ends before the next question begins.
      network.end()
    return

  prompt = documents.ask(_QUESTION.value) if _QUESTION.value else _TEXT.value
  for sample in range(_SAMPLES.value):
    network.forget()
    network.read([*images_shown, *([prompt] if prompt else [])])

    say(prompt + " " * bool(_QUESTION.value))
    write(network, seed + sample, strip=not _TEXT.value, caption=not prompt)


def questions() -> Iterator[str]:
  """Yields the lines of standard input that are not blank; a terminal shows a prompt for each."""
  while True:
    say("Q: ")
    line = sys.stdin.readline()
    if not line:
      say("\n")
      return

    question = line.strip()
    if question:
      # Where input does not come from a terminal nobody has seen the question yet.
      say("A: " if sys.stdin.isatty() else f"{question}\nA: ")
      yield question


def write(
  network: agent.TextGenerator, seed: int, strip: bool = True, caption: bool = False
) -> None:
  """Prints a text while the network writes it.

  Args:
    network: The generator, which has read what comes before.
    seed: Seed of sampling.
    strip: True leaves out white space at the beginning; an answer starts with a space.
    caption: True for captions, which do not start like a question.
  """
  ids = network.write(_MAX_TOKENS.value, _TEMPERATURE.value, seed=seed, caption=caption)
  for text in generation.stream(network.text, ids):
    if strip:
      text = text.lstrip()
      strip = not text
    print(text, end="", flush=True)

  print(flush=True)


def say(text: str) -> None:
  """Prints to standard error, which keeps standard output for the network's words."""
  print(text, end="", flush=True, file=sys.stderr)


if __name__ == "__main__":
  cli.run(main, plays=True, buckets=True)
