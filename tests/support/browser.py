"""A real browser without a window, where one is installed (Debian's package chromium)."""

import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

needed = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


def evaluate(page: pathlib.Path, script: str, width: int = 1200) -> str:
  """Opens a page, runs JavaScript in it, and returns what `script` returns, as a text.

  An error of the page's own scripts comes back instead.

  Args:
    page: The HTML file.
    script: Body of a function.
    width: Pixels of the window.
  """
  assert CHROMIUM is not None
  # The first script hears of errors in all that follow; the last one leaves its result in the DOM.
  listening = "<script>window.onerror = (text) => { window.failure = text; };</script>"
  asking = f"""<script>
    const answer = document.createElement("output");
    answer.id = "answer";
    let told;
    try {{ told = (() => {{ {script} }})(); }} catch (e) {{ told = String(e); }}
    answer.textContent = window.failure || told;
    document.body.append(answer);
  </script>"""
  html = page.read_text().replace("<head>", "<head>" + listening, 1)

  with tempfile.TemporaryDirectory() as folder:
    copy = pathlib.Path(folder) / "page.html"
    copy.write_text(html.replace("</body>", asking + "</body>", 1))
    done = subprocess.run(
      [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={folder}/profile",
        f"--window-size={width},1000",
        "--dump-dom",
        copy.as_uri(),
      ],
      capture_output=True,
      text=True,
      timeout=120,
      check=True,
    )

  (answer,) = re.findall(r'<output id="answer">(.*?)</output>', done.stdout, re.DOTALL)
  return answer
