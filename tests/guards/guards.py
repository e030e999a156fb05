"""The mechanisms that can be switched off, and the test that must fail without each: one line a guard.

A test is a pytest id below tests/, or "program: engine: test" of a conformance program ("program: test" of another). `with_`
names guards that are switched off too, where two of them notice the same thing. test_guards.py holds the list against the source.
"""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
TOPS = ("apply", "capture", "transform", "coordinator", "common", "cli")


class Seen(NamedTuple):
    test: str
    with_: tuple = ()


def each(program, test, engines="postgresql mysql sqlite memory"):
    return [Seen(f"{program}: {e}: {test}") for e in engines.split()]


SERVED = "postgresql mysql sqlite"
GUARDS = {
    # apply: what is durable
    "apply.fence": each("test_conform_target", "generations are fenced", "postgresql sqlite mysql")
    + each("test_conform_target_load", "load: second claim fences the first", "memory sqlite"),
    "apply.generation": each("test_conform_target", "generations are fenced"),
    "apply.plan": each("test_conform_target_plan", "plan: a claim compares it"),
    "apply.all_durable": each("test_conform_target_plan", "plan: loaded is what the target holds"),
    "apply.savepoint": each("test_conform_target_load", "refused: careful isolates the row", SERVED),
    "apply.owner_kill": [Seen("traps/test_two_coordinators.py::test_fresh_does_not_wait_for_a_loader_that_hangs[postgresql-keyed]")],
    "mysql.load_report": [Seen("traps/test_writing.py::test_duplicates_on_an_existing_unique_key[mysql]")],
    # capture: what is read
    "capture.token": [Seen("traps/test_reading.py::test_a_reader_that_is_in_another_snapshot")],
    "capture.filenode": [Seen("traps/test_definition.py::test_a_rewritten_table_reads_as_empty[truncate-key]")],
    "spill.cut": [Seen("test_pg_parts: postgresql: rolled back")],
    # the way of the rows
    "bus.checksum": [Seen("crash/test_points.py::test_a_load_survives[sqlite-bus.corrupt-error2]")],
    "bus.sequence": [Seen("crash/test_points.py::test_a_load_survives[sqlite-bus.drop-error2]", ("bus.totals",))],
    "bus.totals": [Seen("traps/test_writing.py::test_a_message_that_is_lost_between_two_streams")],
    # the coordinator: which plan is in force, and whose
    "coordinator.verify": [Seen("traps/test_plan.py::test_a_coordinator_dies_while_it_registers[postgresql]")],
    "coordinator.doubt": [Seen("traps/test_two_coordinators.py::test_a_superseded_run_knows_it_at_once[sqlite-fresh]")],
    "coordinator.one_snapshot": [Seen("traps/test_plan.py::test_a_keyless_table_starts_over_under_a_new_snapshot[postgresql-3]")],
    "coordinator.open_ends": [Seen("traps/test_plan.py::test_rows_outside_the_planned_bounds[registered-postgresql]")],
    # processes
    "cli.watch": [Seen("crash/test_hang.py::test_a_load_completes_with_a_process_stopped_for_ever[sqlite-apply]")],
    "worker.give_back": [Seen("test_worker: only_a_job_that_was_called_back_is_judged")],
}

_guard = re.compile(r'GW_GUARD\("([a-z_.]+)"\)')


def in_source():
    found = set()
    for top in TOPS:
        for f in (ROOT / top).rglob("*.[ch]"):
            found |= {n for n in _guard.findall(f.read_text()) if f.name != "fault.h"}
    return found
