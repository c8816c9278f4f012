"""Run a Python module in a fresh process and print its wall seconds and peak MiB as JSON.

A process of its own, because a child's peak memory counts from its parent's size at the fork.
"""

import json
import os
import subprocess
import sys
import time

from tegu.core.process import require_os, rusage_mebibytes

require_os("wait4", "this benchmark")
began = time.perf_counter()
process = subprocess.Popen([sys.executable, "-m", *sys.argv[1:]])  # noqa: S603 # the caller's own modules
_, status, usage = os.wait4(process.pid, 0)
seconds = time.perf_counter() - began
process.returncode = os.waitstatus_to_exitcode(status)
print(json.dumps({"seconds": seconds, "mebibytes": rusage_mebibytes(usage.ru_maxrss)}))
sys.exit(process.returncode)
