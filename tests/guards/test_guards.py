"""Each mechanism, switched off, is missed by the test that is about it: a test that passes either way proves nothing."""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest

from guards import guards
from harness.database import MySQLDatabase, PostgreSQLDatabase
from harness.run import BIN
from harness.servers import PASSWORD

TESTS = Path(__file__).resolve().parents[1]
PROGRAMS = BIN.parent / "tests"


def test_the_list_is_that_of_the_source():
    assert guards.in_source() == set(guards.GUARDS)


def cases(programs):
    """(guards that are off, program or id, tests in it): a program runs once, whatever number of its tests is meant."""
    runs = {}
    for guard, seen in guards.GUARDS.items():
        for s in seen:
            program, _, test = s.test.partition(": ")
            if bool(test) == programs:
                runs.setdefault((",".join((guard, *s.with_)), program), []).append(test)
    return [pytest.param(off, where, tests, id=f"{off}-{where.split('/')[-1]}") for (off, where), tests in runs.items()]


@pytest.fixture(scope="session")
def endpoints(servers):
    """Where the conformance programs find servers (as harness/with-servers has it)."""
    env = {}
    for kind, cls in (("postgresql", PostgreSQLDatabase), ("mysql", MySQLDatabase)):
        url = cls(servers.get(kind), "conform").url
        env[f"GW_TEST_{kind.upper()}_URL"] = url.removesuffix("conform") if kind == "mysql" else url
        env[f"GW_TEST_{kind.upper()}_PASSWORD"] = PASSWORD
    return env


@pytest.mark.parametrize("off, program, tests", cases(programs=True))
def test_a_program_notices(endpoints, off, program, tests):
    env = {**os.environ, **(endpoints if program.startswith(("test_conform", "test_pg")) else {}), "GODWIT_GUARDS_OFF": off}
    # One stream: what a test says stands between its beginning and its end.
    out = subprocess.run([PROGRAMS / program], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                         timeout=300).stdout
    # Each of them ran, and failed in one of its assertions.
    wrong = []
    for test in tests:
        body = re.search(rf"\[ RUN      \] {re.escape(test)}\n(.*?)\[  FAILED  \] {re.escape(test)}\n", out, re.S)
        if not body or "[   LINE   ]" not in body[1]:
            wrong.append(test)
    assert not wrong, f"not noticed without {off}: {wrong}\n{out[-3000:]}"


@pytest.mark.parametrize("off, test, _", cases(programs=False))
def test_a_scenario_notices(tmp_path, off, test, _):
    report = tmp_path / "report.xml"
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "GODWIT_FAULT"))}
    env["GODWIT_GUARDS_OFF"] = off
    p = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"--junitxml={report}", test],
                       cwd=TESTS, env=env, capture_output=True, text=True, errors="replace", timeout=400)
    said = p.stdout[-3000:]
    suite = next(xml.parse(report).getroot().iter("testsuite"))
    counts = {k: int(suite.get(k)) for k in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": 1, "failures": 1, "errors": 0, "skipped": 0}, f"not noticed without {off}: {counts}\n{said}"
    # In an assertion: what is set up, started and waited for is the same as with the guard.
    message = next(suite.iter("failure")).get("message", "")
    assert re.match(r"(AssertionError|assert )", message), f"{message}\n{said}"
