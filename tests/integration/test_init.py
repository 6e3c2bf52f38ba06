"""`bulkhead init`: for each program that it knows, the file that it makes of a short command line is checked, and starts the
program as Debian has it. Only ports, and directories that belong to the host's own service, are the test's."""

import os
import re
import socket
import subprocess
import urllib.error
from pathlib import Path

import pytest

import programs
from lib import BUILD, PATIENCE, SOURCE

KNOWN = (SOURCE / "tools/known.c").read_text()
ROWS = {}  # row's first name → how it is tried


def row(make):
    ROWS[make.__name__.replace("_", "-")] = make
    return make


@pytest.fixture(scope="module", autouse=True)
def templates():
    yield
    programs.forget_templates()


def init(d, *words, rc=0, cwd="/", options=("--output",), user=None, path=os.environ["PATH"]):
    """Into the daemon's modules.d, unless the options say otherwise."""
    where = [*options, str(d.config / "modules.d")] if options == ("--output",) else list(options)
    done = subprocess.run([str(BUILD / "bulkhead"), "init", *where, *[str(w) for w in words]], capture_output=True, text=True,
                          timeout=PATIENCE, stdin=subprocess.DEVNULL, cwd=cwd, env=dict(os.environ, PATH=path))
    assert done.returncode == rc, done
    return done


# --- a row each: (words of the command line, directory to type it in, user expected, what shows that it works)

@row
def nginx(d):
    conf = programs.nginx_conf(d, f"root {programs.www(d)};")
    return [programs.NGINX, "-e", "stderr", "-c", conf], "/", lambda: programs.get(d.ports[-1]) == b"hello\n"


@row
def redis_server(d):
    data = d.scratch / "redis"
    data.mkdir()
    os.chmod(data, 0o777)
    return (["redis-server", "--bind", "127.0.0.1", "--port", d.port(), "--dir", data, "--daemonize", "yes"], "/",
            lambda: programs.say(d.ports[-1], b"PING") == b"+PONG\r\n")


@row
def postgres(d):
    data = programs.postgres_data(d)
    return [programs.POSTGRES, "-D", data], "/", lambda: programs.query(d.ports[-1], "select 6 * 7") == "42"


@row
def mosquitto(d):
    conf = programs.mosquitto_conf(d)
    return ["mosquitto", "-d", "-c", conf], "/", lambda: socket.create_connection(("127.0.0.1", d.ports[-1]), PATIENCE).close() is None


@row
def haproxy(d):
    def answers():
        """By a worker, of which the master's READY=1 tells nothing: one that is just born misses the USR1 of a stop."""
        with pytest.raises(urllib.error.HTTPError, match="503") as answer:
            programs.get(d.ports[-1])
        answer.value.close()  # it holds the connection, for which a haproxy that was asked to end waits
        return True
    return ["haproxy", "-D", "-f", programs.haproxy_conf(d, 1)], "/", answers


@row
def php_fpm(d):
    path = d.scratch / "php.sock"

    def answers():
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(path))
            # GET_VALUES without a name is answered with an empty result (type 10).
            s.sendall(bytes([1, 9, 0, 0, 0, 0, 0, 0]))
            return s.recv(8)[:2] == bytes([1, 10])
    return [programs.PHP_FPM, "--fpm-config", programs.php_fpm_conf(d, path)], "/", answers


@row
def node(d):
    (d.scratch / "server.js").write_text(programs.NODE_SERVER)
    return [programs.NODE, "server.js", d.port()], d.scratch, lambda: programs.get(d.ports[-1]) == b"hello\n"


@row
def python3(d):
    folder = programs.www(d)
    return ([programs.PYTHON, "-m", "http.server", "--bind", "127.0.0.1", d.port()], folder,
            lambda: programs.get(d.ports[-1]) == b"hello\n")


@row
def gunicorn(d):
    (d.scratch / "myapp.py").write_text(programs.WSGI_APP)
    return ["gunicorn", "--daemon", "--bind", f"127.0.0.1:{d.port()}", "myapp:app"], d.scratch, lambda: programs.get(d.ports[-1]) == b"hello\n"


@row
def uvicorn(d):
    (d.scratch / "myapp.py").write_text(programs.ASGI_APP)
    return ["uvicorn", "--port", d.port(), "myapp:app"], d.scratch, lambda: programs.get(d.ports[-1]) == b"hello\n"


def test_each_row_is_tried():
    assert {re.split(r"[ \"]", n)[0] for n in re.findall(r'\.names = "([^"]*)', KNOWN)} == set(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_what_is_made_starts(daemon, name):
    d = daemon.make()
    words, cwd, works = ROWS[name](d)
    if name == "node":
        words += ["--port", str(d.ports[-1])]  # tells init, and the script does not mind
    said = init(d, "m", "--", *words, cwd=cwd).stdout
    made = (d.config / "modules.d/m.ini").read_text()
    assert "bulkhead check" in said or "copy it" in said
    if any(w in ("-d", "-D", "--daemon", "yes") for w in map(str, words)) or name in ("nginx", "php-fpm"):
        if name != "postgres":
            assert "was added" in said or "was left out" in said, said
    # The host's own directories of these names are not the test's to remove.
    own = [f"{key} = {d.instance}" if key == "runtime_directory" else f"{key} =" for key in
           ("runtime_directory", "state_directory", "logs_directory") if f"\n{key} = " in made]
    if "\nworking_dir = /var/lib" in made:
        own.append(f"working_dir = {d.scratch}")
    if own:
        d.write("modules.d/m.ini.d/test.ini", "[module]\n" + "\n".join(own) + "\n")
    d.cli("check", str(d.config), rc=0)
    d.start()
    m = d.wait("m", lambda m: m["state"] == "running" or m["last_exit"])
    assert m["state"] == "running" and m["restarts"] == 0 and works(), d.explain("m") + d.log_of("m")
    expected = re.search(r"^user = (.*)$", made, re.MULTILINE)[1]
    assert expected in {"root", "nobody", name, name.removesuffix("-server")}
    d.cli("stop", "m", rc=0)
    last = d.module("m")["last_exit"]
    assert last["signal"] in (None, 0, 15), f"it ended by {last}, not as asked"
    d.stop()


# --- what it says, and what it leaves alone

def test_nothing_is_overwritten_unasked(daemon):
    d = daemon.make()
    target = d.write("modules.d/sleep.ini", "mine\n")
    done = init(d, "--", "sleep", "7", rc=1)
    assert "sleep.ini is there already" in done.stderr and "--force" in done.stderr and target.read_text() == "mine\n"
    init(d, "--force", "--", "sleep", "7")
    assert "exec = /usr/bin/sleep 7" in target.read_text() and [p.name for p in target.parent.iterdir()] == ["sleep.ini"]
    d.clean = True


def test_directories_are_made_and_named(daemon):
    d = daemon.make()
    new = d.dir / "a/b"
    done = init(d, "--", "sleep", "7", options=("--config", str(new)))
    assert f"made the directory {new}/modules.d" in done.stderr and (new / "modules.d/sleep.ini").exists()
    assert f"bulkhead check {new}" in done.stdout
    assert os.stat(new / "modules.d/sleep.ini").st_mode & 0o777 == 0o644
    d.clean = True


def test_stdout_is_the_file_and_nothing_else(daemon):
    d = daemon.make()
    done = init(d, "--", "sleep", "it's 100%", options=("--stdout",))
    assert done.stderr == "" and '\nexec = /usr/bin/sleep "it\'s 100%%"\n' in done.stdout
    assert list((d.config / "modules.d").iterdir()) == []
    d.add("sleep", done.stdout)
    d.cli("check", str(d.config), rc=0)
    d.clean = True


def test_a_program_is_found_as_the_shell_would(daemon):
    d = daemon.make()
    own = d.scratch / "bin"
    own.mkdir()
    for name in ("mine", "plain"):
        (own / name).write_text("#!/bin/sh\nexec sleep 1000\n")
    os.chmod(own / "mine", 0o755)
    stdout = ("--stdout",)
    assert f"exec = {own}/mine\n" in init(d, "--", "mine", options=stdout, path=f"{own}:/usr/bin").stdout
    assert f"exec = {own}/mine x\n" in init(d, "--", "./mine", "x", options=stdout, cwd=own).stdout
    # Servers are in nobody's $PATH but root's.
    assert "exec = /usr/sbin/nginx " in init(d, "--", "nginx", options=stdout, path="/usr/bin:/bin").stdout
    for words, said in {("no-such-program",): "no program 'no-such-program' in $PATH",
                        ("./plain",): "may not be executed (chmod +x ./plain",
                        ("/nowhere/x",): "/nowhere/x: No such file or directory", (str(own),): "is no file"}.items():
        assert said in init(d, "--", *words, options=stdout, rc=1, cwd=own).stderr
    assert "the user 'no-such-user' does not exist" in init(d, "-u", "no-such-user", "--", "sleep", options=stdout, rc=1).stderr
    assert "stand after --" in init(d, "sleep", "-x", options=stdout, rc=2).stderr
    assert "line break" in init(d, "--", "sleep", "1\n2", options=stdout, rc=2).stderr
    d.clean = True


def test_a_script_runs_as_its_owner(daemon):
    d = daemon.make()
    script = Path(d.scratch) / "job.py"
    script.write_text("import time\ntime.sleep(1000)\n")
    os.chown(script, 33, 33)
    made = init(d, "--", programs.PYTHON, "job.py", cwd=d.scratch)
    assert "user www-data: the owner of job.py" in made.stdout
    d.start()
    m = d.wait("job", "running")
    assert os.stat(f"/proc/{m['pid']}").st_uid == 33 and os.readlink(f"/proc/{m['pid']}/cwd") == str(d.scratch)
    d.stop()
