"""The type maps in docs/engines.md are what the engines do. Rewrite them with:  tests/golden/test_typemap.py BUILD_FOLDER"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = Path(os.environ.get("GODWIT_BIN", ROOT / "build/dev/bin")).parent
BEGIN, END = "<!-- type map: printed by tests/golden/typemap -->\n", "<!-- end of the type map -->\n"


def printed(build):
    return subprocess.run([Path(build) / "tests/typemap"], check=True, capture_output=True, text=True).stdout


def parts():
    text = (ROOT / "docs/engines.md").read_text()
    head, rest = text.split(BEGIN)
    old, tail = rest.split(END)
    return head, old, tail


def test_documented_types_are_the_engines():
    assert parts()[1].strip() == printed(BUILD).strip()


if __name__ == "__main__":
    head, _, tail = parts()
    (ROOT / "docs/engines.md").write_text(f"{head}{BEGIN}\n{printed(sys.argv[1])}\n{END}{tail}")
