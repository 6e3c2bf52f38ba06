"""The files of a configuration in all their layers: that a module runs by what they come to, that `config` says so, and that
what it prints can stand in their place."""

import json
import os
import pty
import shutil
import subprocess
import tempfile
from pathlib import Path

from lib import BUILD, PATIENCE, helper, reachable


def running(d, name="web"):
    """What the kernel and the daemon know of the module that came from the files."""
    m = d.module(name)
    with open(f"/proc/{m['pid']}/environ") as f:
        environment = dict(v.split("=", 1) for v in f.read().split("\0") if v)
    with open(f"/proc/{m['pid']}/limits") as f:
        limits = {line[:26].strip(): line[26:].split()[:2] for line in f}
    return {"env": {k: v for k, v in environment.items() if k.startswith("MY_")}, "cwd": os.readlink(f"/proc/{m['pid']}/cwd"),
            "nofile": limits["Max open files"], "core": limits["Max core file size"], "stack": limits["Max stack size"]}


def test_layers_in_a_running_module(daemon):
    d = daemon.make(defaults={"limits.core": "1M", "limits.stack": "16M", "module.working_dir": "/etc"})
    d.write("common.ini", "[module]\ninclude = common/base.ini\n[limits]\nnofile = 100\ncore = 2M\n")
    d.write("common/base.ini", "[module]\nworking_dir = /usr\n[limits]\nnofile = 200\nstack = 4M\n")
    d.write("first.env", "MY_FIRST=first\nMY_BOTH=first\n")
    d.write("web.env", "MY_BOTH=second\n")
    mark = f"BH_MARK={d.marks.path}"
    d.add("web", f"[module]\ninclude = common.ini, -not-here.ini\nexec = {helper('probe')} web\n"
                 f"environment_file = first.env, %n.env, -none.env\nenvironment = MY_OWN=%n, {mark}\n[limits]\ncore = 0\n")
    d.write("modules.d/web.ini.d/10.ini", "[limits]\nstack =\n")
    d.write("modules.d/web.ini.d/20.ini", "[limits]\nnofile = 300\n")
    d.start()
    before = running(d)
    assert before["env"] == {"MY_FIRST": "first", "MY_BOTH": "second", "MY_OWN": "web"}
    assert before["cwd"] == "/usr" and before["nofile"] == ["300", "300"] and before["core"] == ["0", "0"], before
    assert before["stack"] not in ([str(4 << 20)] * 2, [str(16 << 20)] * 2), "a drop-in has taken it back"
    merged = d.cli("config", "web", "--config", str(d.config), rc=0).out
    for line in ("# modules.d/web.ini.d/20.ini:2\nnofile = 300\n", "# include common/base.ini:2\nworking_dir = /usr\n",
                 "# modules.d/web.ini.d/10.ini:2\nstack =\n", "# modules.d/web.ini:7\ncore = 0\n",
                 "# [defaults] bulkhead.ini:3\nuser = root\n"):
        assert line in merged, f"{line}\n{merged}"
    whole = d.cli("config", "--config", str(d.config), rc=0).out
    d.stop()

    shutil.rmtree(d.config / "modules.d")
    shutil.rmtree(d.config / "common")
    (d.config / "common.ini").unlink()
    d.write("modules.d/web.ini", merged)
    d.write("bulkhead.ini", whole)
    again = daemon.make(share=d).start()
    assert running(again) == before
    again.stop()


def tool(*args, user=None):
    argv = [str(BUILD / "bulkhead"), *args]
    if user is not None:
        argv[0] = reachable("bulkhead")
        argv = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *argv]
    return subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)


def policy(tmp_path, files):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o644)
    for path in [tmp_path, *tmp_path.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)
    return str(tmp_path)


def test_no_daemon_is_asked(tmp_path):
    where = policy(tmp_path / "p", {
        "bulkhead.ini": "[defaults]\nsandbox.user = root\n", "all.ini": "[limits]\npids_max = 7\n",
        "modules.d/web-a.ini": "[module]\nexec = /bin/true\ninclude = all.ini\n",
        "modules.d/web-b.ini": "[module]\nexec = /bin/true\n[limits]\npids_max = 8\n", "modules.d/db.ini": "[module]\nexec = /bin/true\n"})
    rows = json.loads(tool("config", "--config", where, "--json", "web-*").stdout)
    assert [(r["module"], r["value"], r["origin"], r["line"]) for r in rows if r["key"] == "pids_max"] == [
        ("web-a", "7", "include", 2), ("web-b", "8", "file", 4)]
    names = [m["name"] for m in json.loads(tool("config", "--config", where, "--json").stdout)["modules"]]
    assert names == ["db", "web-a", "web-b"]
    done = tool("config", "web-c", "--config", where)
    assert done.returncode == 3 and "did you mean web-a?" in done.stderr, done
    assert tool("config", "--config", str(tmp_path / "none")).returncode == 78
    assert tool("cat", "web-a", "--config", where).stdout == (
        f"# {where}/all.ini\n[limits]\npids_max = 7\n\n# {where}/modules.d/web-a.ini\n[module]\nexec = /bin/true\ninclude = all.ini\n")
    assert tool("cat", "--config", where).returncode == 2


def test_expanded_is_what_the_module_gets(daemon):
    """The command line that the kernel knows is the one that is shown."""
    d = daemon.make()
    d.write("job.env", "MY_WORDS=two words\n")
    d.add("job", f"[module]\ninstances = 2\nexec = {helper('probe')} %n-%i ${{MY_WORDS}} '${{MY_PORT}}' 100%%\nenvironment_file = job.env\n"
                 f"environment = MY_PORT=80%i, BH_MARK={d.marks.path}\n")
    d.start()
    blocks = d.cli("config", "--expanded", "job", "--config", str(d.config), rc=0).out.split("# job@")[1:]
    assert len(blocks) == 2
    for number, block in enumerate(blocks, 1):
        line = next(v for v in block.splitlines() if v.startswith("exec = "))
        with open(f"/proc/{d.module(f'job@{number}')['pid']}/cmdline") as f:
            words = f.read().split("\0")[:-1]
        assert words[1:] == [f"job@{number}-{number}", "two words", f"80{number}", "100%"]
        assert line == f"exec = {words[0]} job@{number}-{number} two\\ words '80{number}' 100%%"
    assert d.cli("config", "job@2", "--config", str(d.config), rc=0).out.startswith("# job@2: modules.d/job.ini\n")
    assert "(job@1 to job@2)" in d.cli("config", "job@3", "--config", str(d.config), rc=3).err
    d.stop()


def test_what_is_wrong_hides_nothing(tmp_path):
    where = policy(tmp_path / "p", {"modules.d/web.ini": "[module]\nexec = /bin/true\n[sandbox]\nuser = root\n[limits]\nmemory_max = 64\n"})
    done = tool("config", "web", "--config", where)
    assert done.returncode == 78 and "memory_max = 64\n" in done.stdout
    assert "modules.d/web.ini:6: limits.memory_max: a unit is missing" in done.stderr
    done = tool("cat", "web", "--config", where)
    assert done.returncode == 78 and "memory_max = 64\n" in done.stdout


def test_a_secret_is_for_those_who_may_read_it():
    """The files are read with the rights of the caller, and what is in an environment file is never shown."""
    where = policy(Path(tempfile.mkdtemp(prefix="bulkhead-secret-")), {"modules.d/web.ini": "[module]\nexec = /bin/echo ${KEY}\nenvironment = TOKEN=open-sesame\n"
                                                   "environment_file = web.env\n[sandbox]\nuser = root\n", "web.env": "KEY=hush-hush\n"})
    os.chmod(f"{where}/modules.d/web.ini", 0o600)
    os.chmod(f"{where}/web.env", 0o600)
    mine = tool("config", "--all", "web", "--config", where)
    assert "TOKEN=open-sesame" in mine.stdout and "hush-hush" not in mine.stdout
    for verb in "config", "cat":
        done = tool(verb, "web", "--config", where, user=65534)
        assert "sesame" not in done.stdout + done.stderr and done.returncode == 78, done
        assert "modules.d/web.ini: cannot be read: Permission denied" in done.stderr, done
    shutil.rmtree(where)


def test_a_terminal_comes_to_no_harm(tmp_path):
    where = policy(tmp_path / "p", {"modules.d/web.ini": "[module]\nexec = /bin/true\n[sandbox]\nuser = root\n; \x1b[2Jgone\n"})
    main, side = pty.openpty()
    subprocess.run([str(BUILD / "bulkhead"), "cat", "--no-pager", "web", "--config", where], stdout=side, timeout=PATIENCE)
    seen = os.read(main, 4096).decode()
    os.close(main)
    os.close(side)
    assert "\\x1b[2Jgone" in seen and "\x1b" not in seen, seen
    assert "\x1b[2Jgone" in tool("cat", "web", "--config", where).stdout, "a pipe gets it as it is"
