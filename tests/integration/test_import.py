"""bulkhead import: what it makes of the units of Debian's packages, of the lines of every format, and that programs run by it.

Units are taken from the packages that are installed; what is made of them must pass `check`, and each of their lines must be in
the account. The fixtures in tests/data/import hold every row of the tables, as
tests/unit/test_import.c sees to."""

import json
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

import programs
from lib import BUILD, SOURCE, wait_for

DATA = SOURCE / "tests/data/import"
UNITS = next((d for d in map(Path, ("/usr/lib/systemd/system", "/lib/systemd/system")) if d.exists()), Path("/lib/systemd/system"))
PHP_FPM = Path(programs.newest("/usr/lib/systemd/system/php*-fpm.service")).name
CLUSTER = f"postgresql@{programs.POSTGRES.split('/')[4]}-main.service" if "*" not in programs.POSTGRES else "postgresql@15-main.service"
PACKAGES = ["nginx.service", "redis-server.service", "postgresql.service", CLUSTER, "mosquitto.service", PHP_FPM, "cron.service",
            "ssh.service", "haproxy.service"]


def bulkhead(*args, rc=0, env=None):
    done = subprocess.run([BUILD / "bulkhead", *map(str, args)], capture_output=True, text=True, timeout=60, check=False,
                          env=os.environ | (env or {}))
    assert done.returncode == rc, f"{args}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done


@pytest.fixture
def config(tmp_path):
    """A configuration directory as `check` wants it."""
    (tmp_path / "config/modules.d").mkdir(parents=True)
    for d in (tmp_path / "config", tmp_path / "config/modules.d"):
        d.chmod(0o755)
    return tmp_path / "config"


def imported(config, *words, env=None):
    """Imports into the configuration, which must pass `check`. Returns the account."""
    account = json.loads(bulkhead("import", "--json", "--config", config, *words, env=env).stdout)
    done = bulkhead("import", "--output", config / "modules.d", *words, env=env)
    check = bulkhead("check", config)
    assert check.stdout == ""
    told = [n for n in account if n["status"] != "carried"]
    lines = [line for line in done.stderr.splitlines() if not line.startswith("wrote ")]
    assert len(lines) == len(told), done.stderr
    for n, line in zip(told, lines):
        assert line.startswith(f"{n['file']}:{n['line']}: " if n["line"] else f"{n['file']}: "), line
        assert n["why"], n
    return account


def lines_of(path):
    """The numbers of the lines that are assignments or go on from none."""
    numbers, goes_on = set(), False
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not goes_on and line.strip() and line.strip()[0] not in "#;[":
            numbers.add(number)
        goes_on = line.endswith("\\") if line.strip()[:1] not in ("#", ";") else goes_on
    return numbers


# --- the units of packages


# The same names of tests on every release, whatever its version of php and postgres.
@pytest.mark.parametrize("unit", PACKAGES, ids=[re.sub(r"\d+(\.\d+)?", "N", unit) for unit in PACKAGES])
def test_units_of_debian(config, unit):
    account = imported(config, UNITS / unit)
    files = {n["file"] for n in account}
    for file in files:
        assert {n["line"] for n in account if n["file"] == file} == lines_of(Path(file)), file
    assert not [n for n in account if n["why"] and "systemd knows no" in n["why"]]
    assert any(n["to"] == "module.exec" for n in account)
    [ini] = (config / "modules.d").glob("*.ini")
    text = ini.read_text()
    for n in account:
        if n["status"] == "dropped":
            assert f"# {n['file']}:{n['line']}: {n['key']}=" in text, n


def test_all_of_them_together(config):
    imported(config, *(UNITS / u for u in PACKAGES))
    name = CLUSTER.removesuffix(".service").replace("@", "-")
    assert f"after = {name}" in (config / "modules.d/postgresql.ini").read_text()  # Before= of the cluster
    assert "daemon off;" in (config / "modules.d/nginx.ini").read_text()
    assert f"--foreground --skip-systemctl-redirect {name.removeprefix('postgresql-')} start" in (config / f"modules.d/{name}.ini").read_text()


def test_every_directive_that_systemd_knows(tmp_path, config):
    """Of the systemd that is installed, whatever its version."""
    systemd = next((p for p in ("/usr/lib/systemd/systemd", "/lib/systemd/systemd") if os.path.exists(p)), "systemd")
    known = subprocess.run([systemd, "--dump-configuration-items"], capture_output=True, text=True, check=True).stdout
    sections, section = {}, None
    for line in known.splitlines():
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), [])
        elif "=" in line:
            section.append(line.split("=")[0])
    assert len(sections["Service"]) > 240 and len(sections["Unit"]) > 100

    def write(name, *wanted, before=""):
        text = "".join(f"[{s}]\n" + "".join(f"{k}=yes\n" for k in sections[s] if k not in ("Unit", "Service")) for s in wanted)
        (tmp_path / name).write_text(before + text)

    write("web.service", "Unit", "Service", "Install", before="[Unit]\nRequires=web.socket\n[Service]\nExecStart=/bin/true\n")
    write("web.timer", "Timer")
    write("web.socket", "Socket")
    account = json.loads(bulkhead("import", "--json", "--config", config, tmp_path / "web.service").stdout)
    assert {Path(n["file"]).name for n in account} == {"web.service", "web.timer", "web.socket"}
    unknown = [f"{n['key']}: {n['why']}" for n in account if n["why"] and "systemd knows no" in n["why"]]
    assert not unknown, unknown


# --- the fixtures


def test_everything_of_systemd(config):
    account = imported(config, *sorted(DATA.glob("*.service")))
    for file in DATA.glob("every*"):
        assert {n["line"] for n in account if n["file"] == str(file)} == lines_of(file), file
    assert not [n for n in account if n["why"] and "systemd knows no" in n["why"]]
    text = (config / "modules.d/everything.ini").read_text()
    for line in ["exec = /usr/bin/env FOO=${NAME} %% $$x one two 'a b'", "environment = NAME=value, WORDS=one two, PERCENT=100%%",
                 "description = All of it, everything", "ready = notify", "start_timeout = infinity", "stop_timeout = 45s",
                 "umask = 0027", "stop_signal = INT", "nofile = 1024:4096", "nice_limit = 15", "cpu_time = 1h", "cpu_weight = 50",
                 "runtime_directory = everything, everything/everything", "capabilities = net_bind_service", "requires = other",
                 "success_exit_status = 143, 75, SIGUSR1", "backoff = 2m 500ms", "user = daemon", "supplementary_groups = adm, tty"]:
        assert f"\n{line}\n" in text, line
    assert "wants = everything\n" in (config / "modules.d/later.ini").read_text()
    timer = (config / "modules.d/every-timer.ini").read_text()
    assert "on_calendar = Mon..Fri 02:30\n" in timer and "type = oneshot\n" in timer and "start = manual" not in timer


def test_everything_of_supervisord(config):
    account = imported(config, DATA / "supervisord.conf", env={"SLEEP": "1000"})
    assert not [n for n in account if n["why"] and "supervisord knows no" in n["why"]]
    assert [n["status"] for n in account if n["key"] == "events"] == ["dropped"]
    text = (config / "modules.d/every.ini").read_text()
    for line in ["exec = /bin/sleep 1000", "instances = 2", "success_exit_status = 0, 2", "stop_signal = INT", "stop_timeout = 7s",
                 "environment = SHARED=yes, 'KEY=one, two', OTHER=100%%", "umask = 0027", "user = nobody", "max_attempts = 4"]:
        assert f"\n{line}\n" in text, line
    assert (config / "modules.d/included.ini").exists() and (config / "modules.d/fast.ini").exists()
    assert not (config / "modules.d/ear.ini").exists()


def test_everything_of_service_directories(config, tmp_path):
    tree = shutil.copytree(DATA / "sv", tmp_path / "sv")  # empty files too
    account = imported(config, tree)
    for name in ("plain", "execline"):
        assert "exec = /usr/bin/sleep 1000\n" in (config / f"modules.d/{name}.ini").read_text()
    plain = (config / "modules.d/plain.ini").read_text()
    for line in ["environment = GREETING=hello, COLOUR=blue", "user = nobody", "group = nogroup", "nofile = 128", "working_dir = /tmp"]:
        assert f"\n{line}\n" in plain, line
    assert f"exec = {tree}/script/run\n" in (config / "modules.d/script.ini").read_text()
    assert "requires = setup\n" in (config / "modules.d/longrun.ini").read_text()
    assert "ready = fd:3\n" in (config / "modules.d/execline.ini").read_text()
    assert not (config / "modules.d/all.ini").exists()  # a bundle


# --- mistakes and ways to say it


def test_typos_are_told(tmp_path, config):
    unit = tmp_path / "web.service"
    unit.write_text("Stray=1\n[Service]\nExecStart=/bin/true\nExecStrat=/bin/false\nRestart=somtimes\nnonsense\n[X-Mine]\nA=b\n")
    why = {n["line"]: n["why"] for n in imported(config, unit) if n["status"] == "dropped"}
    assert set(why) == {1, 4, 5, 6, 8}
    assert "did you mean ExecStart=?" in why[4]


@pytest.mark.parametrize("text, said", [
    ("", "masked"),
    ("[Service]\nType=simple\n", "no ExecStart="),
])
def test_what_cannot_be_run(tmp_path, text, said):
    (tmp_path / "web.service").write_text(text)
    assert said in bulkhead("import", tmp_path / "web.service", rc=1).stderr


def test_what_is_not_there(tmp_path):
    assert "there is no unit nonsense.service" in bulkhead("import", "nonsense", rc=1).stderr
    assert "cannot read" in bulkhead("import", tmp_path / "nowhere", rc=1).stderr
    assert "no service directory" in bulkhead("import", tmp_path, rc=1).stderr
    (tmp_path / "notes.txt").write_text("hello\n")
    assert "neither a unit" in bulkhead("import", tmp_path / "notes.txt", rc=1).stderr
    (tmp_path / "web@.service").write_text("[Service]\nExecStart=/bin/echo %i\n")
    assert "name the instance" in bulkhead("import", tmp_path / "web@.service", rc=1).stderr
    assert "exec = /bin/echo one\n" in bulkhead("import", tmp_path / "web@one.service").stdout
    bulkhead("import", rc=2)
    bulkhead("import", "--nonsense", "x", rc=2)


def test_drop_ins(tmp_path, config):
    unit = tmp_path / "web.service"
    unit.write_text("[Service]\nExecStart=/bin/true\nUser=nobody\nEnvironment=A=1\nEnvironment=B=2\n")
    for number, text in (("20", "[Service]\nExecStart=\nExecStart=/bin/echo \\\n  # a comment\n  two words\nUser=daemon\n"),
                         ("10", "[Service]\nExecStart=\nExecStart=/bin/false\nEnvironment=\nEnvironment=C=3\n")):
        (tmp_path / "web.service.d").mkdir(exist_ok=True)
        (tmp_path / f"web.service.d/{number}.conf").write_text(text)
    account = imported(config, unit)
    text = (config / "modules.d/web.ini").read_text()
    assert "\nexec = /bin/echo two words\n" in text and "\nuser = daemon\n" in text and "\nenvironment = C=3\n" in text
    assert [n["status"] for n in account if n["key"] == "ExecStart" and n["value"]] == ["dropped", "dropped", "carried"]


def test_nothing_is_overwritten(tmp_path, config):
    (tmp_path / "web.service").write_text("[Service]\nExecStart=/bin/true\n")
    (tmp_path / "db.service").write_text("[Service]\nExecStart=/bin/true\n")
    mine = config / "modules.d/web.ini"
    mine.write_text("mine\n")
    words = (tmp_path / "db.service", tmp_path / "web.service")
    assert "is there already" in bulkhead("import", "--output", config / "modules.d", *words, rc=1).stderr
    assert mine.read_text() == "mine\n" and not (config / "modules.d/db.ini").exists()
    bulkhead("import", "--force", "--output", config / "modules.d", *words)
    assert "exec = /bin/true" in mine.read_text() and mine.stat().st_mode & 0o777 == 0o644
    assert sorted(p.name for p in (config / "modules.d").iterdir()) == ["db.ini", "web.ini"]


def test_hostile_bytes_stay_out_of_files_and_terminals(tmp_path, config):
    (tmp_path / "web.service").write_bytes(b"[Service]\nExecStart=/bin/true\nDescription=x\nBogus=\x1b[31m\xff\x07\n"
                                           b"[Unit]\nDescription=\x1b]0;owned\x07\n")
    done = bulkhead("import", "--output", config / "modules.d", tmp_path / "web.service")
    text = (config / "modules.d/web.ini").read_text()
    assert "\x1b" not in done.stderr + text and "\\x1b" in text
    assert bulkhead("check", config).stdout == ""


# --- what came of it runs


def start_imported(d, words, name):
    bulkhead("import", "--output", d.config / "modules.d", *words)
    for ini in (d.config / "modules.d").glob("*.ini"):
        os.chmod(ini, 0o644)
    assert bulkhead("check", d.config).stdout == ""
    d.start()
    return d.wait(name, "running")


def drop_in(d, unit, text):
    """The package's unit beside a drop-in, as an administrator has it."""
    folder = d.dir / "units"
    (folder / f"{unit}.d").mkdir(parents=True)
    shutil.copy(UNITS / unit, folder / unit)
    (folder / f"{unit}.d/test.conf").write_text(text)
    return folder / unit


def test_nginx_runs(daemon):
    d = daemon.make()
    conf = programs.nginx_conf(d, f"root {programs.www(d)};")
    unit = drop_in(d, "nginx.service", f"""[Service]
ExecStartPre=
ExecStartPre=/usr/sbin/nginx -t -q -e stderr -c {conf} -g 'daemon on; master_process on;'
ExecStart=
ExecStart=/usr/sbin/nginx -e stderr -c {conf} -g 'daemon on; master_process on;'
""")
    start_imported(d, [unit], "nginx")
    assert wait_for(lambda: served(d.ports[-1]), "nginx to serve") == b"hello\n"
    d.cli("stop", "nginx", rc=0)


def served(port):
    try:
        return programs.get(port)
    except OSError:
        return None


def test_redis_runs(daemon):
    d = daemon.make()
    data = d.scratch / "redis"
    data.mkdir()
    shutil.chown(data, "redis", "redis")
    unit = drop_in(d, "redis-server.service", f"""[Service]
ExecStart=
ExecStart=/usr/bin/redis-server --port {d.port()} --dir {data} --supervised systemd --daemonize no --logfile ''
RuntimeDirectory=
RuntimeDirectory={d.instance}
LimitNOFILE=1024
""")
    started = start_imported(d, [unit], "redis-server")
    assert started["health"] != "unhealthy"
    with socket.create_connection(("127.0.0.1", d.ports[-1]), 20) as s:
        s.sendall(b"PING\r\n")
        assert s.recv(100) == b"+PONG\r\n"


def test_cron_runs(daemon):
    """It has one lock on the host, so that one of the host's own would keep it from starting: there is none where tests run."""
    d = daemon.make()
    pid_file = Path("/run/crond.pid")
    start_imported(d, [UNITS / "cron.service"], "cron")
    pid = d.module("cron")["pid"]
    wait_for(lambda: pid_file.exists() and pid_file.read_text().strip() == str(pid), "cron to take its lock")
    d.cli("stop", "cron", rc=0)
    pid_file.unlink()  # cron leaves it


def test_programs_of_supervisord_run(daemon):
    d = daemon.make()
    conf = d.dir / "supervisord.conf"
    out = d.scratch / "out"
    out.mkdir(mode=0o777)
    os.chmod(out, 0o777)
    conf.write_text(f"""
[supervisord]
environment=OUT="{out}"
[program:worker]
command=/bin/sh -c 'echo "$0 $OUT" >$OUT/%(program_name)s.%(process_num)d; exec sleep 1000' "a b" ; the name
numprocs=2
process_name=%(program_name)s_%(process_num)02d
user=nobody
stopsignal=KILL
autorestart=true
""")
    bulkhead("import", "--output", d.config / "modules.d", conf)
    d.start()
    for n in (1, 2):
        d.wait(f"worker@{n}", "running")
        file = out / f"worker.{n}"
        wait_for(lambda f=file: f.exists() and f.read_text() == f"a b {out}\n", "the program to write")
    assert os.stat(f"/proc/{d.module('worker@1')['pid']}").st_uid == 65534


def test_services_of_runit_run(daemon):
    d = daemon.make()
    sv = d.dir / "sv"
    plain = f"#!/bin/sh\nexec 2>&1\ncd {d.scratch}\nexport A='b c'\nexec chpst -u nobody:nogroup -o 99 sleep 1000\n"
    script = "#!/bin/sh\n[ -n \"$PWD\" ] && touch $PWD/ran\nexec sleep 1000\n"
    for name, text in (("plain", plain), ("script", script)):
        (sv / name).mkdir(parents=True)
        (sv / name / "run").write_text(text)
        (sv / name / "run").chmod(0o755)
    start_imported(d, [sv], "plain")
    d.wait("script", "running")
    wait_for((sv / "script/ran").exists, "the script to run in its directory")
    pid = d.module("plain")["pid"]
    environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    assert b"A=b c" in environment and os.readlink(f"/proc/{pid}/cwd") == str(d.scratch)
    assert os.stat(f"/proc/{pid}").st_uid == 65534
    assert re.search(r"Max open files +99 +99 ", Path(f"/proc/{pid}/limits").read_text())
