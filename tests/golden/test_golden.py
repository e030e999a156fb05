"""What godwit makes and says, against what it made and said when somebody last looked at it.

GODWIT_UPDATE_GOLDEN=1 writes the files anew; the difference is then for a person to read, in the change that caused it.
"""

import difflib
import os
import re
import subprocess
from pathlib import Path

import pytest

from harness import shop
from harness.fixtures import every_pair, pair_ids
from harness.run import BIN, DONE
from scenario.test_pairs import MY_MORE, PG_MORE, shape

HERE = Path(__file__).parent


def against(name, text):
    path = HERE / name
    if os.environ.get("GODWIT_UPDATE_GOLDEN"):
        path.write_text(text)
        return
    assert path.exists(), f"{name} is not there: GODWIT_UPDATE_GOLDEN=1 writes it"
    diff = difflib.unified_diff(path.read_text().splitlines(), text.splitlines(), "before", "now", lineterm="", n=0)
    assert text == path.read_text(), f"{name} is not what it was\n" + "\n".join(diff)


@pytest.mark.parametrize("pair", [p for p in every_pair() if p[0] != p[1]], ids=pair_ids)
def test_schema_and_findings(world, pair):
    source, target = world.pair(*pair)
    shop.fill(source, 2)
    source.script({"postgresql": PG_MORE, "mysql": MY_MORE}.get(source.engine, []))
    r = world.run(world.task(source, target)).expect(DONE)

    def stable(text):
        text = text.replace(source.name, "SOURCE").replace(target.name, "TARGET")
        return re.sub(r"AUTO_INCREMENT=\d+ ", "", text)

    findings = sorted(
        f'{f["severity"]}: {f["table"] or "(task)"}.{f["object"]}: {f["message"]}'
        + (f' -> {f["action"]}' if f["action"] else "") + (f' [{f["sql"]}]' if f["sql"] else "")
        for f in r.findings
    )
    schema = "\n".join(shape(target))
    against(f"{pair_ids(pair)}.txt", stable("# findings\n" + "\n".join(findings) + "\n\n# schema\n" + schema + "\n"))


@pytest.mark.parametrize("command", ["", "run", "check", "tables", "drop", "keygen"])
def test_help(command):
    argv = [str(BIN / "godwit")] + ([command] if command else []) + ["--help"]
    p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert p.returncode == 0 and p.stderr == ""
    against(f"help-{command or 'godwit'}.txt", p.stdout)
    assert max(map(len, p.stdout.splitlines())) <= 110
