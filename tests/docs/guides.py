"""Runs the code of the guides."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = sorted((DOCS / "guides").glob("*.md"))


def blocks(page: str, language: str) -> str:
    """All code of one language on a guide's page, in order."""
    text = (DOCS / "guides" / f"{page}.md").read_text("utf-8")
    found = re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert found, f"{page} has no {language} code"
    return "\n".join(found)


def run_python(page: str, folder: Path) -> str:
    """Run a page's Python code in a folder, and return what it prints."""
    code = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", blocks(page, "python")]
    done = subprocess.run(code, cwd=folder, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return done.stdout


def run_shell(script: str, folder: Path) -> str:
    """Run a script in a folder with this environment's commands, and end the processes that it leaves running.

    The output goes to a file: processes that outlive the script would keep a pipe open.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    log = folder / "log"
    with log.open("wb") as output:
        shell = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=folder,
            env={**os.environ, "PATH": path},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = shell.wait(timeout=300)
        finally:
            _end_group(shell.pid)
    said = log.read_text("utf-8", errors="replace")
    assert not status, said
    return said


def _end_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGTERM)
    except ProcessLookupError:
        return
