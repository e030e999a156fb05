"""The named fault points: where each stands, and on which paths it is reached. test_points.py holds this list against the source."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Reached by every load, whatever the engines.
ALWAYS = ["capture.chunk.read", "capture.chunk.end", "transform.forward", "coordinator.after_assign", "coordinator.registered",
          "bus.corrupt", "bus.drop"]
# Of the targets. A point that only one engine has is in its own list.
TARGET = ["apply.after_claim", "apply.before_fence", "apply.before_commit", "apply.after_commit", "apply.prepare.cleared",
          "apply.prepare.after", "apply.finish.after_step"]
ONLY = {
    "postgresql": ["apply.prepare.clearing", "apply.prepare.shared", "apply.finish.pk_index", "apply.finish.unique_index",
                   "apply.finish.not_validated", "apply.register.before_commit", "apply.register.after_commit",
                   "apply.state_set.after_commit"],
    "mysql": ["apply.prepare.clearing", "apply.prepare.dropped", "apply.finish.not_validated", "apply.register.before_commit",
              "apply.register.after_commit", "apply.state_set.after_commit"],
    "sqlite": [],
}
# The stream's: of every engine, and of each target.
STREAM = ["coordinator.stream_opened", "coordinator.stream_assigned", "capture.stream.batch", "capture.stream.end",
          "apply.stream.claimed", "apply.stream.piece", "apply.stream.group", "apply.stream.committed"]
STREAM_TARGET = ["apply.stream.after_claim", "apply.stream.before_fence", "apply.stream.before_commit", "apply.stream.after_commit"]
# Where a failing form would mean nothing: the result is not looked at.
ONLY_KILLED = {"coordinator.stream_opened", "coordinator.stream_assigned"}
# What no kill is about: each has a test of its own.
ELSEWHERE = {"capture.snapshot.join": "traps/test_reading.py", "capture.snapshot.apart": "traps/test_reading.py",
             "transform.lose": "traps/test_writing.py", "apply.stream.no_bulk": "conformance/CMakeLists.txt",
             "capture.spill.full": "conformance/test_pg_parts.c", "apply.altered": "stream/test_ddl.py",
             "apply.defined": "stream/test_ddl.py", "coordinator.altered": "stream/test_ddl.py"}
# A corrupted or lost message is not a death: only the failing form means anything.
NOT_KILLED = {"bus.corrupt", "bus.drop"}

_call = re.compile(r'\b(?:GW_FAULT|(?:[a-z]+_)?fault)\("([a-z_.]+)"')


def in_source():
    """{point: [files]}"""
    found = {}
    for top in ("apply", "capture", "transform", "coordinator", "common", "cli"):
        for f in sorted((ROOT / top).rglob("*.c")):
            for name in _call.findall(f.read_text()):
                found.setdefault(name, []).append(str(f.relative_to(ROOT)))
    return found


def of_target(engine):
    return [p for p, files in in_source().items() if any(f.startswith(f"apply/targets/{engine}/") for f in files)]


def listed():
    return set(ALWAYS + TARGET + STREAM + STREAM_TARGET) | set(ELSEWHERE) | {p for names in ONLY.values() for p in names}
