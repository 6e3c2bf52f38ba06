"""What somebody new gets wrong, and that each answer says what to type, or what to change, next: a table, a mistake a row."""

import os
import re
import socket
import subprocess

import pytest

from lib import BUILD, PATIENCE, free_port, helper, reachable, wait_for

NOBODY = 65534


def run(*argv, user=None, env=None):
    argv = [str(a) for a in argv]
    if user is not None:
        argv = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *argv]
    return subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL,
                          env={k: v for k, v in os.environ.items() if k != "BULKHEAD_INSTANCE"} | (env or {}))


# --- on the command line, with no daemon: words, who, exit status, what is said

INSTANCE = f"none{os.getpid()}"
ALONE = {
    "nothing given": ([], None, 2, r"no verb given; see: bulkhead --help"),
    "a wrong verb": (["statsu"], None, 2, r"did you mean status\?\); see: bulkhead --help"),
    "no module given": (["start"], None, 2, r"start needs a MODULE; see: bulkhead start --help"),
    "a wrong option": (["logs", "web", "--folow"], None, 2, r"did you mean --follow\?\); see: bulkhead logs --help"),
    "no daemon": (["status", "-i", INSTANCE], None, 3, rf"start it: bulkheadd --instance {INSTANCE}\)"),
    "no daemon, as a user": (["status", "-i", INSTANCE], NOBODY, 3, rf"start it: sudo bulkheadd --instance {INSTANCE}\)"),
    "init without --": (["init", "nginx"], None, 2, r"needs a program after --: bulkhead init -- nginx"),
    "init of what is not there": (["init", "--stdout", "--", "no-such"], None, 1, r"install it, or give its path"),
    "init where only root writes": (["init", "--output", "/etc", "--", "sleep", "1"], NOBODY, 1, r"Permission denied \(try sudo; or --output DIR"),
    "no configuration": (["check", "/nonexistent"], None, 78, r"no such directory \(make it: mkdir -p /nonexistent/modules.d"),
    "an empty configuration": (["check", "EMPTY"], None, 78, r"neither bulkhead.ini nor modules.d is here \(mkdir .*/modules.d, or name"),
}


@pytest.mark.parametrize("mistake", ALONE)
def test_without_a_daemon(mistake, tmp_path):
    words, user, rc, said = ALONE[mistake]
    os.chmod(tmp_path, 0o755)
    done = run(reachable("bulkhead"), *[tmp_path if w == "EMPTY" else w for w in words], user=user)
    assert done.returncode == rc and re.search(said, done.stdout + done.stderr), done


def test_the_daemon_started_by_a_user(tmp_path):
    done = run(reachable("bulkheadd"), "--instance", INSTANCE, user=NOBODY)
    assert done.returncode == 1 and "must be run as root (sudo bulkheadd)" in done.stderr


# --- in a module's file, found by check: the lines, what is said

FILES = {
    "no user": ("exec = /bin/true", r"sandbox.user: is missing \(user = www-data; write user = root if it must be root\)"),
    "a user that is not there": ("exec = /bin/true\n[sandbox]\nuser = nosuchuser", r"make one: adduser --system --group nosuchuser\)"),
    "no exec": ("[sandbox]\nuser = root", r"module.exec: is missing \(exec = /usr/sbin/program arguments\)"),
    "a program by its name": ("exec = sleep 5\n[sandbox]\nuser = root", r"module.exec: .*\(.*/.*\)"),
    "a key of another section": ("exec = /bin/true\nrestart = no\n[sandbox]\nuser = root", r"restart is a key of \[recovery\]"),
    "a typo": ("exce = /bin/true\n[sandbox]\nuser = root", r"did you mean exec\?"),
    "a number without a unit": ("exec = /bin/true\nstop_timeout = 5\n[sandbox]\nuser = root", r"stop_timeout: .*\(.*10s"),
    "a profile that is not there": ("exec = /bin/true\n[sandbox]\nuser = root\nprofile = nginx", r"profile.*nginx.*"),
}


@pytest.mark.parametrize("mistake", FILES)
def test_in_a_file(daemon, mistake):
    d = daemon.make()
    d.write("bulkhead.ini", "")
    text, said = FILES[mistake]
    d.add("web", f"[module]\n{text}\n" if not text.startswith("[") else text + "\n")
    done = d.cli("check", str(d.config), rc=78)
    assert re.search(said, done.out), done
    d.clean = True


# --- at a start: the module, the word that start says, what explain says

def script(d, text, mode=0o755):
    path = d.scratch / "program"
    path.write_text(text)
    os.chmod(path, mode)
    return str(path)


STARTS = {
    "a program that is not there": (lambda d: {"module.exec": "/nonexistent/x"}, r"No such file or directory \(is it installed"),
    "a script without its interpreter": (lambda d: {"module.exec": script(d, "#!/nonexistent/sh\n")}, r"what runs it: the program after #!"),
    "a script without #!": (lambda d: {"module.exec": script(d, "echo\n")}, r"begins with #! and the program that runs it"),
    "a file that is not executable": (lambda d: {"module.exec": script(d, "#!/bin/sh\n", 0o644)}, r"not executable: chmod \+x"),
    "a program its user cannot reach": (lambda d: {"module.exec": closed(d), "sandbox.user": "nobody"}, r"user nobody must have the right x"),
    "a directory that is not there": (lambda d: {"module.exec": "/bin/true", "module.working_dir": "/nonexistent"}, r"working_dir /nonexistent: .*\(make it, or"),
    "a directory its user cannot enter": (lambda d: {"module.exec": "/bin/true", "sandbox.user": "nobody", "module.working_dir": os.path.dirname(closed(d))},
                                          r"user nobody must have the right x"),
    "a wrong port": (lambda d: {"module.exec": "/bin/sleep 1000", "module.ready": "tcp:9", "module.start_timeout": "200ms"},
                     r"nothing of it listens on port 9 \(ready = tcp:9; ss -tlnp"),
    "a program that does not notify": (lambda d: {"module.exec": "/bin/sleep 1000", "module.ready": "notify", "module.start_timeout": "200ms"},
                                       r"never said READY=1 \(ready = notify; if it does not speak"),
    "a port that is taken": (lambda d: {"module.exec": f"/usr/bin/python3 -m http.server {taken(d)}", "module.ready": f"tcp:{d.ports[-1]}"},
                             r"exit status 1"),
    "a program that ends with an error": (lambda d: {"module.exec": "/bin/false", "module.ready": "notify"}, r"exit status 1"),
}


def closed(d):
    """A program in a directory that nobody but root enters."""
    folder = d.scratch / "closed"
    folder.mkdir(exist_ok=True)
    os.chmod(folder, 0o700)
    program = folder / "program"
    program.write_text("#!/bin/sh\n")
    os.chmod(program, 0o755)
    return str(program)


def taken(d):
    d.held = socket.create_server(("", 0))
    d.ports.append(d.held.getsockname()[1])
    return d.ports[-1]


@pytest.mark.parametrize("mistake", STARTS)
def test_at_a_start(daemon, mistake):
    make, said = STARTS[mistake]
    d = daemon.make()
    keys = {"module.start": "manual", "recovery.restart": "no"} | make(d)
    d.add("web", keys)
    d.start()
    done = d.cli("start", "web", rc=1)
    assert re.search(said, done.err), done
    assert re.search(said, d.explain("web"))
    if "exit status" in said:
        assert "see: bulkhead logs web" in done.err and "`bulkhead logs web` has its last words" in d.explain("web")
    if hasattr(d, "held"):
        d.held.close()
    d.stop()


# --- at a daemon

def test_a_module_that_is_not_there(daemon):
    d = daemon({"web": {"module.exec": "/bin/sleep 1000"}})
    for verb in ("status", "start", "logs", "explain"):
        done = d.cli(verb, "nope", rc=3)
        assert "no module 'nope' (bulkhead status lists them with the same --instance)" in done.err
        assert "did you mean 'web'?" in d.cli(verb, "wbe", rc=3).err
    assert "no module matches 'x*' (bulkhead status lists them)" in d.cli("stop", "x*", rc=3).err
    d.stop()


def test_a_user_without_the_right(daemon):
    d = daemon({"web": {"module.exec": "/bin/sleep 1000"}}, supervisor={"read_group": "games"})
    done = d.cli("status", rc=1, user=NOBODY)
    assert "try sudo bulkhead status, or set read_group in [supervisor] of bulkhead.ini" in done.err
    games = int(re.search(r"^games:x:(\d+):", open("/etc/group").read(), re.MULTILINE)[1])
    d.cli("status", rc=0, user=NOBODY, groups=(games,))
    done = d.cli("stop", "web", rc=1, user=NOBODY, groups=(games,))
    assert "be root or in operate_group" in done.err
    d.stop()


def test_a_second_daemon(daemon):
    d = daemon({})
    done = run(BUILD / "bulkheadd", "--instance", d.instance, "--config", d.config)
    assert done.returncode == 1 and f"(pid {d.pid}): stop that one, or use another --instance" in done.stderr
    d.stop()


def test_a_program_that_goes_to_the_background(daemon):
    d = daemon({"web": {"module.exec": helper("daemonize") + " leave", "recovery.restart": "no"}})
    d.wait("web", lambda m: m["state"] == "idle" and m["generation"] == 1)
    assert "tell it to stay in the\nforeground (`bulkhead init` knows how for many)" in d.explain("web")
    d.stop()


def test_a_call_that_the_profile_does_not_have(daemon):
    """explain gives the lines to add; with them it runs."""
    port = free_port()
    server = {"module.exec": f"/usr/bin/python3 -m http.server --bind 127.0.0.1 {port}", "module.ready": f"tcp:{port}",
              "sandbox.user": "nobody", "recovery.restart": "no", "module.start": "manual", "sandbox.profile": "base"}
    d = daemon({"web": server})
    assert "denied" in d.cli("start", "web", rc=1).err
    said = d.explain("web")
    assert re.search(r"write in .*/modules.d/web.ini:\n\n    \[sandbox\]\n    allow = socket\n", said), said
    d.stop()


def test_an_empty_status_is_not_the_end(daemon):
    d = daemon({})
    wait_for(lambda: d.cli("status").rc == 0, "the daemon to answer")
    assert "bulkhead init" in d.cli("status", rc=0).out
    d.stop()
