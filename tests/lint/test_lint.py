"""Rules of the source tree that a compiler does not know."""

import json
import py_compile
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STAGES = ("capture", "transform", "apply", "coordinator", "cli")
SKIP = ("build/", ".git/")


def files(*patterns):
    found = []
    for p in patterns:
        found += [f for f in ROOT.rglob(p) if not str(f.relative_to(ROOT)).startswith(SKIP)]
    return sorted(set(found))


def sources():
    return files("*.c", "*.h")


def name(f):
    return str(f.relative_to(ROOT))


def includes(f):
    return re.findall(r'^\s*#\s*include\s+([<"][^>"]+[>"])', f.read_text(), re.M)


def test_stages_do_not_include_each_other():
    wrong = []
    for f in sources():
        own = name(f).split("/")[0]
        if own not in STAGES and own != "common":
            continue
        for inc in includes(f):
            top = inc[1:-1].split("/")[0]
            if inc[0] == '"' and top in STAGES and top != own:
                wrong.append(f"{name(f)} includes {inc}")
    assert not wrong, "\n".join(wrong)


def test_only_engines_and_db_wrappers_include_database_clients():
    clients = ("libpq-fe.h", "libpq/", "postgres_fe.h", "mysql.h", "mysql/", "mariadb/", "mysqld_error.h", "errmsg.h",
               "sqlite3.h")
    allowed = ("capture/sources/", "apply/targets/", "common/db/")
    # SQLite is also where the coordinator keeps its state.
    own_state = ("coordinator/store.c", "coordinator/co.h", "cli/statedir.c")
    wrong = []
    for f in sources():
        if name(f).startswith(allowed + ("tests/", "bench/")):
            continue
        for inc in includes(f):
            bare = inc[1:-1]
            if bare.startswith(clients) and not (bare == "sqlite3.h" and name(f) in own_state):
                wrong.append(f"{name(f)} includes {inc}")
    assert not wrong, "\n".join(wrong)


def test_one_engine_does_not_include_another():
    wrong = []
    for f in sources():
        m = re.match(r"(capture/sources|apply/targets)/(\w+)/", name(f))
        for inc in includes(f) if m else []:
            other = re.match(r"(capture/sources|apply/targets)/(\w+)/", inc[1:-1])
            if other and other.groups() != m.groups():
                wrong.append(f"{name(f)} includes {inc}")
    assert not wrong, "\n".join(wrong)


def test_transform_and_coordinator_link_no_database_client():
    wrong = []
    for stage in ("transform", "coordinator"):
        text = (ROOT / stage / "CMakeLists.txt").read_text()
        wrong += [f"{stage} links {lib}" for lib in ("PkgConfig::PQ", "PkgConfig::MARIADB", "gw_db_pg", "gw_db_my") if lib in text]
    assert not wrong


def test_headers_say_what_they_are_for():
    assert [name(f) for f in files("*.h") if not f.read_text().startswith(("//", "/*"))] == []


def test_files_have_a_readable_length():
    limit = 700
    long = {name(f): n for f in sources() if (n := f.read_text().count("\n")) > limit}
    assert not long, long


FORBIDDEN = [
    ("unbounded copies", r"\b(strcpy|strcat|sprintf|vsprintf|gets)\s*\("),
    ("numbers without errors", r"\b(atoi|atol|atoll|atof)\s*\("),
    ("a shell", r"\b(system|popen)\s*\("),
    ("waiting and hoping", r"\b(sleep|usleep|nanosleep)\s*\("),
    ("notes to oneself", r"\b(TODO|FIXME|XXX|HACK)\b"),
]


@pytest.mark.parametrize("what, pattern", FORBIDDEN, ids=[what for what, _ in FORBIDDEN])
def test_not_in_the_source(what, pattern):
    wrong = []
    for f in sources():
        if name(f).startswith("tests/"):
            continue
        for i, line in enumerate(f.read_text().splitlines(), 1):
            code = re.sub(r'"(\\.|[^"\\])*"|//.*', "", line) if what != "notes to oneself" else line
            if re.search(pattern, code):
                wrong.append(f"{name(f)}:{i}: {line.strip()}")
    assert not wrong, what + "\n" + "\n".join(wrong)


def test_layout_of_c():
    wrong = []
    for f in sources():
        for i, line in enumerate(f.read_text().splitlines(), 1):
            if "\t" in line or len(line) > 150:
                wrong.append(f"{name(f)}:{i}: a tab, or longer than 150 characters")
    assert not wrong, "\n".join(wrong)


def test_no_paths_of_somebodys_machine():
    own = re.compile(r"(?<![\w.~$}])/(home|root|Users|work)/\w")
    wrong = []
    for f in files("*.c", "*.h", "*.py", "*.proto", "*.cmake", "*.txt", "*.md", "*.json") + scripts():
        if f == Path(__file__).resolve() or "corpus" in f.parts:
            continue
        wrong += [f"{name(f)}:{i}: {line.strip()}" for i, line in enumerate(f.read_text().splitlines(), 1) if own.search(line)]
    assert not wrong, "\n".join(wrong)


def test_text_files_end_with_a_newline_and_have_no_trailing_blanks():
    wrong = []
    for f in files("*.c", "*.h", "*.py", "*.proto", "CMakeLists.txt", "*.cmake", "*.md", "*.json") + [ROOT / "tests/run"]:
        t = f.read_text()
        if t and not t.endswith("\n"):
            wrong.append(f"{name(f)}: no newline at its end")
        if re.search(r"[ \t]+$", t, re.M) and f.suffix != ".md":
            wrong.append(f"{name(f)}: blanks at the end of a line")
    assert not wrong, "\n".join(wrong)


def scripts():
    found = []
    for folder in ("deploy", "tests", ".ci", "bench"):
        for f in (ROOT / folder).rglob("*") if (ROOT / folder).exists() else []:
            if f.is_file() and f.stat().st_size < 10**6 and f.suffix in ("", ".sh"):
                head = f.open("rb").readline()
                if head.startswith(b"#!") and b"sh" in head:
                    found.append(f)
    return found


def test_shell_scripts_parse():
    for f in scripts():
        p = subprocess.run(["bash", "-n", str(f)], stderr=subprocess.PIPE, text=True)
        assert p.returncode == 0, f"{name(f)}: {p.stderr}"
        assert f.stat().st_mode & 0o111, f"{name(f)} is not executable"


def test_python_compiles(tmp_path):
    for f in files("*.py"):
        py_compile.compile(str(f), cfile=str(tmp_path / "x.pyc"), doraise=True)


def test_json_parses():
    for f in files("*.json"):
        json.loads(f.read_text())


def test_links_in_documents_lead_somewhere():
    wrong = []
    for f in files("*.md"):
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", f.read_text()):
            if not re.match(r"[a-z]+:", target) and not (f.parent / target).exists():
                wrong.append(f"{name(f)}: {target}")
    assert not wrong, "\n".join(wrong)


def test_format():
    tracked = subprocess.run(["git", "-C", ROOT, "ls-files", "*.c", "*.h"], capture_output=True, text=True).stdout.split()
    if not tracked:
        pytest.skip("not a git work tree")
    p = subprocess.run(["clang-format-14", "--dry-run", "-Werror", *tracked], cwd=ROOT, capture_output=True, text=True)
    wrong = sorted({line.split(":")[0] for line in p.stderr.splitlines() if "warning" in line or "error" in line})
    assert p.returncode == 0, f"clang-format-14 -i {' '.join(wrong[:20])}"
