"""Every type with every edge value, as a change: stored, refused and found again as the load's row is."""

import os
import subprocess

import pytest

from harness.fixtures import every_pair, pair_ids
from harness.run import BIN
from harness.servers import PASSWORD
from values.test_values import fill


@pytest.mark.parametrize("pair", list(every_pair()), ids=pair_ids)
def test_the_stream_stores_what_the_load_stores(world, pair):
    source, target = world.pair(*pair)
    fill(source)
    env = dict(os.environ, GW_SOURCE_PASSWORD=PASSWORD, GW_TARGET_PASSWORD=PASSWORD)
    r = subprocess.run([BIN.parent / "tests/stream_values", source.url, target.url, target.target_schema() or "main"],
                       env=env, capture_output=True, timeout=300)
    out = r.stdout.decode(errors="replace") + r.stderr.decode(errors="replace")
    assert r.returncode == 0, out
    assert int(out.split(" tables,")[0].split()[-1]) >= 8, out
