"""The product's command line as a process: output captured, killed with all its children, waited for with a deadline."""

import json
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

from harness.database import password_environment

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("GODWIT_BIN", ROOT / "build/dev/bin"))

DONE, TABLE_ERROR, USAGE, UNREACHABLE, STOPPED = range(5)


class Result:
    def __init__(self, argv, code, stdout, stderr, seconds):
        self.argv, self.code, self.stdout, self.stderr, self.seconds = argv, code, stdout, stderr, seconds
        self._json = None

    @property
    def json(self):
        if self._json is None:
            self._json = json.loads(self.stdout)
        return self._json

    @property
    def text(self):
        return self.stdout + self.stderr

    def table(self, name):
        return next(t for t in self.json["tables"] if t["TableName"] == name)

    @property
    def findings(self):
        return self.json["findings"]

    def expect(self, *codes):
        codes = codes or (DONE,)
        assert self.code in codes, self.describe(f"exit code {self.code}, not {' or '.join(map(str, codes))}")
        return self

    def describe(self, what=""):
        def tail(s, n=6000):
            return s if len(s) <= n else "…" + s[-n:]

        argv = " ".join(map(str, self.argv))
        return f"{what}\n$ {argv}\n--- stdout\n{tail(self.stdout)}\n--- stderr\n{tail(self.stderr)}"


def children_of(pid):
    """Processes below `pid`: {name of the lane: pid}, as `capture-1`, `coordinator`."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
            if int(fields[1]) != pid or fields[0] == "Z":
                continue
            argv = (stat.parent / "cmdline").read_bytes().decode().split("\0")
        except (OSError, IndexError):
            continue
        name = argv[argv.index("--name") + 1] if "--name" in argv else Path(argv[0]).name.replace("godwit-", "")
        found[name] = int(stat.parent.name)
    return found


def session_of(pid):
    """Pids of the session that `pid` began: whatever it started, orphans included."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rsplit(")", 1)[1].split()[3]) == pid:
                found.append(int(stat.parent.name))
        except (OSError, IndexError):
            pass
    return found


class Run:
    """A started command. Its process group is its own, so kill() reaches what the command itself would not end."""

    def __init__(self, command, task, *options, env=None, json_report=True):
        argv = [str(BIN / "godwit"), command, str(task.save())]
        if command in ("run", "tables", "drop"):
            argv += ["--state", str(task.state)]
        if json_report:
            argv.append("--json")
        argv += [str(o) for o in options]
        self.argv = argv
        self.task = task
        e = {k: v for k, v in os.environ.items() if not k.startswith("GODWIT_") or k == "GODWIT_GUARDS_OFF"}
        e.update(password_environment())
        e.update({"GODWIT_LOG": "info", "NO_COLOR": "1", "LC_ALL": "C.UTF-8"})
        e.update(env or {})
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            errors="replace", env=e, cwd=task.folder, start_new_session=True,
        )
        self._out, self._err = [], []
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, self._out), daemon=True),
            threading.Thread(target=self._read, args=(self.process.stderr, self._err), daemon=True),
        ]
        for r in self._readers:
            r.start()

    @staticmethod
    def _read(stream, into):
        for line in stream:
            into.append(line)

    @property
    def pid(self):
        return self.process.pid

    @property
    def stderr(self):
        return "".join(self._err)

    def running(self):
        return self.process.poll() is None

    def children(self):
        return children_of(self.pid)

    def signal(self, sig):
        if self.running():
            self.process.send_signal(sig)

    def kill_all(self):
        """kill -9 of the command and of everything that it started, at once."""
        self.sweep()
        self.process.wait(20)

    def sweep(self):
        """Ends what is left of it, and returns how many processes that were."""
        pids = session_of(self.pid)
        for p in pids:
            try:
                os.kill(p, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return len(pids)

    def wait(self, seconds=120):
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            status = subprocess.run(["ps", "-o", "pid,ppid,stat,etime,wchan:20,args", "-g", str(self.pid)],
                                    stdout=subprocess.PIPE, text=True).stdout
            self.kill_all()
            r = self._result()
            raise AssertionError(r.describe(f"not ended within {seconds} s\n{status}\n{self.logs()}")) from None
        return self._result()

    def _result(self):
        for r in self._readers:
            r.join(5)
        return Result(self.argv, self.process.returncode, "".join(self._out), "".join(self._err),
                      time.monotonic() - self.started)

    def logs(self, n=2500):
        parts = []
        for p in sorted((self.task.state / "logs").glob("*.log")):
            parts.append(f"--- {p.name}\n{p.read_text(errors='replace')[-n:]}")
        return "\n".join(parts)

    def wait_for_stderr(self, pattern, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if re.search(pattern, self.stderr):
                return True
            if not self.running():
                return bool(re.search(pattern, self.stderr))
            time.sleep(0.02)
        return False


def godwit(command, task, *options, seconds=120, **kw):
    return Run(command, task, *options, **kw).wait(seconds)
