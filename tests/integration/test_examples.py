"""The modules of policies/examples as they are, but for what drop-ins say: ports and directories of the test's own. Each
passes `check`, starts, serves, and is gone after stop; at the end of each test the harness looks for what was left."""

import hashlib
import http.client
import json
import os
import re
import shutil
import sqlite3
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

import pytest

import programs
from lib import PATIENCE, SOURCE, alive, wait_for

EXAMPLES = SOURCE / "policies/examples"
NAMES = sorted(p.stem for p in EXAMPLES.glob("*.ini"))
DROP_INS = {}  # name → what makes its drop-in for a daemon


def drop_in(make):
    DROP_INS[make.__name__.replace("_", "-")] = make
    return make


@pytest.fixture(scope="module", autouse=True)
def templates():
    yield
    programs.forget_templates()


def nginx_with(d, server):
    conf = programs.nginx_conf(d, server)
    return f"""[module]
exec = /usr/sbin/nginx -e stderr -c {conf} -g 'daemon off;'
exec_start_pre = /usr/sbin/nginx -t -q -e stderr -c {conf}
ready = tcp:{d.ports[-1]}
[limits]
nofile =
[work]
ports = {d.ports[-1]}
"""


@drop_in
def nginx(d):
    return nginx_with(d, f"root {programs.www(d)};")


@drop_in
def redis(d):
    data = d.scratch / "redis"
    data.mkdir()
    shutil.chown(data, "redis", "redis")
    return f"""[module]
exec = /usr/bin/redis-server --bind 127.0.0.1 --port {d.port()} --dir {data} --daemonize no --supervised systemd --logfile ''
runtime_directory = {d.instance}
state_directory =
[limits]
nofile =
oom_score_adj =
[work]
ports = {d.ports[-1]}
"""


@drop_in
def worker(d):
    # The tree may be where nobody but root gets to.
    program = shutil.copy(EXAMPLES / "worker.py", d.scratch)
    return f"""[module]
exec = /usr/bin/python3 -u {program}
environment = REDIS=127.0.0.1:{d.ports[-1]}, QUEUE=jobs
"""


@drop_in
def queue_worker(d):
    return worker(d).replace("QUEUE=jobs", "QUEUE=jobs, WORKER=%i")


def nightly_py(d, verb):
    program = shutil.copy(EXAMPLES / "nightly.py", d.scratch)
    data = d.scratch / "nightly"
    data.mkdir(exist_ok=True)
    os.chmod(data, 0o777)
    return f"""[module]
exec = /usr/bin/python3 {program} {verb}
state_directory =
environment = STATE_DIRECTORY={data}, TODAY=2026-11-21
"""


@drop_in
def migrate(d):
    return nightly_py(d, "migrate")


@drop_in
def nightly(d):
    return nightly_py(d, "report") + "[limits]\nnice =\n"


@drop_in
def php_fpm(d):
    conf = programs.php_fpm_conf(d, d.scratch / "php.sock")
    return f"""[module]
exec = {programs.PHP_FPM} --nodaemonize --fpm-config {conf}
exec_start_pre = {programs.PHP_FPM} --test --fpm-config {conf}
runtime_directory = {d.instance}
"""


@drop_in
def postgres(d):
    data = programs.postgres_data(d)
    # Not where memory is on a v1 hierarchy: oom_group is refused by name there.
    controllers = Path("/sys/fs/cgroup/cgroup.controllers")
    unified = controllers.exists() and "memory" in controllers.read_text().split()
    return f"""[module]
exec = {programs.POSTGRES} -D {data}
[limits]
nofile =
oom_score_adj =
{"" if unified else "oom_group = no"}
[work]
ports = {d.ports[-1]}
"""


@drop_in
def mosquitto(d):
    return f"""[module]
exec = /usr/sbin/mosquitto -c {programs.mosquitto_conf(d)}
runtime_directory = {d.instance}
state_directory =
logs_directory =
[limits]
nofile =
[work]
ports = {d.ports[-1]}
"""


@drop_in
def haproxy(d):
    conf = programs.haproxy_conf(d, d.ports[-1])
    return f"""[module]
exec = /usr/sbin/haproxy -Ws -f {conf}
exec_start_pre = /usr/sbin/haproxy -c -q -f {conf}
runtime_directory = {d.instance}
[limits]
nofile =
"""


@drop_in
def node(d):
    program = shutil.copy(EXAMPLES / "server.js", d.scratch)
    return f"""[module]
exec = /usr/bin/node {program}
environment = PORT={d.port()}, NODE_ENV=production
ready = tcp:{d.ports[-1]}
[limits]
nofile =
[work]
ports = {d.ports[-1]}
"""


def take(d, *names):
    """These examples with their drop-ins, in the order given."""
    for name in names:
        d.add(name, (EXAMPLES / f"{name}.ini").read_text())
        d.write(f"modules.d/{name}.ini.d/test.ini", DROP_INS[name](d))
    return d


def redis_say(d, *words):
    return programs.say(d.ports[0], *words)


def confined(d, name):
    """The status of the main process: no right but those that the example names, and a filter."""
    status = open(f"/proc/{d.module(name)['pid']}/status").read()
    assert "Seccomp:\t2" in status and "NoNewPrivs:\t1" in status
    return status


def test_each_example_has_a_test():
    assert set(NAMES) == set(DROP_INS) and NAMES


def test_the_examples_pass_check_as_they_are(daemon):
    d = daemon.make()
    for name in NAMES:
        d.add(name, (EXAMPLES / f"{name}.ini").read_text())
    done = d.cli("check", str(d.config), rc=0)
    assert done.out + done.err == ""


def test_nginx(daemon):
    d = take(daemon.make(), "nginx").start()
    port = d.ports[0]
    # It listens before it has its workers, and they are root until they have called setuid.
    wait_for(lambda: sorted(os.stat(f"/proc/{p}").st_uid for p in d.pids("nginx")) == [0, 33, 33], "two workers")
    pids = d.pids("nginx")
    for p in pids:
        caps = next(int(line.split()[1], 16) for line in open(f"/proc/{p}/status") if line.startswith("CapBnd"))
        assert caps == sum(1 << c for c in (0, 1, 5, 6, 7, 10)), "chown, dac_override, kill, setgid, setuid, net_bind_service"
    assert urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10).read() == b"hello\n"
    m = d.wait("nginx", lambda m: m["work"]["completed"] == 1)
    assert m["memory"]["max"] == 256 << 20 and m["pids"]["max"] == 128
    os.kill(m["pid"], 9)
    d.wait("nginx", lambda m: m["generation"] == 2 and m["state"] == "running")
    assert urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10).read() == b"hello\n"
    pids = d.pids("nginx")
    d.cli("stop", "nginx", rc=0)
    assert not any(alive(p) for p in pids)
    assert d.module("nginx")["last_exit"]["code"] == 0, "QUIT is a graceful end"
    d.stop()


def test_a_broken_nginx_configuration_fails_the_start_with_its_words(daemon):
    d = take(daemon.make(), "nginx")
    (d.dir / "nginx.conf").write_text("no_such_directive;\n")
    d.write("modules.d/nginx.ini.d/zz.ini", "[module]\nstart = manual\n[recovery]\nrestart = no\n")
    d.start()
    d.cli("start", "nginx", rc=1)
    assert 'unknown directive "no_such_directive"' in d.log_of("nginx")
    assert d.json("explain", "nginx")["last_error"]["stage"] == "exec_start_pre"
    d.stop()


def test_redis(daemon):
    d = take(daemon.make(), "redis").start()
    runtime = f"/run/{d.instance}"
    assert os.stat(runtime).st_uid == os.stat(d.scratch / "redis").st_uid != 0
    assert redis_say(d, b"SET", b"key", b"value") == b"+OK\r\n"
    status = open(f"/proc/{d.module('redis')['pid']}/status").read()
    assert "CapBnd:\t0000000000000000" in status and "Seccomp:\t2" in status
    d.cli("restart", "redis", rc=0)
    assert redis_say(d, b"GET", b"key") == b"$5\r\nvalue\r\n", "TERM saves"
    d.cli("stop", "redis", rc=0)
    assert not os.path.exists(runtime)
    d.stop()


def test_worker(daemon):
    d = take(daemon.make(), "redis", "worker").start()
    events = [json.loads(line) for line in d.cli("events", "--json", rc=0).out.splitlines()]
    order = [(e["module"], e["event"]) for e in events if e["event"] in ("creating", "running")]
    assert order == [(name, event) for name in ("redis", "worker") for event in ("creating", "running")]
    for job in (b"one", b"two"):
        redis_say(d, b"RPUSH", b"jobs", job)
        digest = hashlib.sha256(job).hexdigest().encode()
        wait_for(lambda: digest in redis_say(d, b"HGET", b"jobs:done", job), f"job {job} to be done")
    assert redis_say(d, b"LLEN", b"jobs:taken") == b":0\r\n"
    refused = d.cli("stop", "redis", rc=1)
    assert "worker" in refused.err, refused
    d.cli("stop", "worker", rc=0)
    assert d.module("worker")["last_exit"]["code"] == 0, "TERM is no failure"
    # A job that a kill cut off is done by the next run.
    redis_say(d, b"RPUSH", b"jobs:taken", b"cut")
    d.cli("start", "worker", rc=0)
    wait_for(lambda: hashlib.sha256(b"cut").hexdigest().encode() in redis_say(d, b"HGET", b"jobs:done", b"cut"), "the job again")
    d.stop()


def test_three_workers_on_a_queue(daemon):
    """Each job is done once, whoever takes it; one that is killed finds its own job again and nobody else's."""
    d = take(daemon.make(), "redis", "queue-worker").start()
    names = [f"queue-worker@{i}" for i in (1, 2, 3)]
    assert [m["name"] for m in d.status()["modules"]] == [*names, "redis"]
    pids = {d.wait(name, "running")["pid"] for name in names}
    assert len(pids) == 3
    jobs = [f"job {n}".encode() for n in range(60)]
    for job in jobs:
        redis_say(d, b"RPUSH", b"jobs", job)
    wait_for(lambda: redis_say(d, b"HLEN", b"jobs:done") == b":60\r\n", "all jobs to be done")

    def said():
        return sorted(line for name in names for line in d.log_of(name).splitlines() if line.startswith("done: "))
    wait_for(lambda: len(said()) >= len(jobs), "each worker to say so, which it does after redis has it")
    assert said() == sorted(f"done: {job!r}" for job in jobs), "once each"
    # A job of the second's is cut off while the first goes on.
    redis_say(d, b"RPUSH", b"jobs:taken:2", b"cut")
    os.kill(d.module("queue-worker@2")["pid"], 9)
    wait_for(lambda: hashlib.sha256(b"cut").hexdigest().encode() in redis_say(d, b"HGET", b"jobs:done", b"cut"), "the job again")
    d.wait("queue-worker@2", lambda m: m["generation"] == 2 and m["state"] == "running")
    assert d.module("queue-worker@1")["generation"] == 1
    assert "queue-worker@1" in d.cli("stop", "redis", rc=1).err
    d.stop()


def shop(d):
    return sqlite3.connect(d.scratch / "nightly/shop.db", timeout=PATIENCE)


def test_a_nightly_job_and_its_migration(daemon):
    d = take(daemon.make(), "migrate", "nightly").start()
    d.wait("migrate", lambda m: m["state"] == "running" and m["pid"] is None)
    assert d.log_of("migrate").count("is done") == 3 and not d.module("nightly")["generation"], "its time has not come"
    with shop(d) as db:
        db.executemany("INSERT INTO orders (day, cents) VALUES (?, ?)", [("2026-11-19", 250), ("2026-11-20", 100), ("2026-11-20", 50)])
    [timer] = d.json("timers", "nightly")
    at = time.localtime(timer["next_usec"] / 1e6)
    assert 0 <= at.tm_hour * 60 + at.tm_min - 150 <= 10, "half past two, and ten minutes of chance"
    d.cli("start", "nightly", rc=0)
    assert d.log_of("nightly") == "2026-11-19: 1 orders, 2.50\n2026-11-20: 2 orders, 1.50\n2 days summed up\n"
    assert d.module("migrate")["generation"] == 1, "once is enough"
    d.cli("start", "nightly", rc=0)
    assert d.log_of("nightly").endswith("\n0 days summed up\n") and d.module("nightly")["generation"] == 2
    d.stop()


def test_a_migration_that_fails_holds_the_job_back(daemon):
    d = take(daemon.make(), "migrate", "nightly")
    (d.scratch / "nightly/shop.db").write_text("this is no database, but it is long enough to be looked at " * 20)
    d.start()
    d.wait("migrate", "failed")
    assert "file is not a database" in d.log_of("migrate")
    assert "migrate" in d.cli("start", "nightly", rc=1).err
    assert not d.module("nightly")["generation"]
    # Somebody has looked.
    (d.scratch / "nightly/shop.db").unlink()
    d.cli("start", "migrate", rc=0)
    d.cli("start", "nightly", rc=0)
    assert d.log_of("nightly") == "0 days summed up\n"
    d.stop()


def test_php_behind_nginx(daemon):
    """A page that PHP makes, asked of nginx; nginx goes first, with its request answered."""
    d = daemon.make()
    pages = programs.www(d)
    (pages / "page.php").write_text('<?php echo "six times seven is ", 6 * 7, " says ", posix_getpwuid(posix_geteuid())["name"];')
    (pages / "slow.php").write_text('<?php usleep(1500000); echo "done";')
    socket = d.scratch / "php.sock"
    d = take(d, "php-fpm")
    d.add("nginx", (EXAMPLES / "nginx.ini").read_text())
    d.write("modules.d/nginx.ini.d/test.ini", nginx_with(d, f"""root {pages};
        location ~ \\.php$ {{ include /etc/nginx/fastcgi_params; fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
            fastcgi_pass unix:{socket}; }}"""))
    # As php-fpm.ini says it.
    said = re.search(r"^;     \[module\]\n;     (requires = .*)$", (EXAMPLES / "php-fpm.ini").read_text(), re.MULTILINE)
    d.write("modules.d/nginx.ini.d/php.ini", f"[module]\n{said[1]}\n")
    d.start()
    confined(d, "php-fpm")
    assert programs.get(d.ports[0], "/page.php") == b"six times seven is 42 says www-data"
    assert "nginx" in d.cli("stop", "php-fpm", rc=1).err, "nginx requires it"
    answers = []
    asked = threading.Thread(target=lambda: answers.append(programs.get(d.ports[0], "/slow.php")))
    asked.start()
    d.wait("nginx", lambda m: m["work"]["in_flight"] >= 1)
    d.cli("stop", "--cascade", "php-fpm", rc=0)
    asked.join(PATIENCE)
    assert answers == [b"done"], "the page in flight was cut off"
    assert d.module("php-fpm")["last_exit"]["code"] == 0 and not socket.exists()
    d.stop()


def test_postgres(daemon):
    d = take(daemon.make(), "postgres").start()
    port = d.ports[0]
    assert "CapBnd:\t0000000000000000" in confined(d, "postgres")
    assert programs.query(port, "create table t (n int); insert into t select generate_series(1, 1000); select sum(n) from t") \
        .endswith("500500")
    m = d.module("postgres")
    assert m["memory"]["max"] == 2 << 30 and m["pids"]["max"] == 256
    d.cli("restart", "postgres", rc=0)
    assert d.module("postgres")["last_exit"]["code"] == 0, "INT is a clean end"
    assert programs.query(port, "select count(*) from t") == "1000"
    assert "was not properly shut down" not in d.log_of("postgres")
    # Killed outright it comes back, having repaired its data.
    os.kill(d.module("postgres")["pid"], 9)
    d.wait("postgres", lambda m: m["generation"] == 3 and m["state"] == "running")
    assert programs.query(port, "select count(*) from t") == "1000"
    assert "was not properly shut down" in d.log_of("postgres")
    d.stop()


def test_mosquitto(daemon):
    d = take(daemon.make(), "mosquitto").start()
    at = ["-h", "127.0.0.1", "-p", str(d.ports[0])]
    assert "CapBnd:\t0000000000000000" in confined(d, "mosquitto")
    programs.run("mosquitto_pub", *at, "-r", "-q", "1", "-t", "house/door", "-m", "open")
    assert programs.run("mosquitto_sub", *at, "-C", "1", "-W", str(int(PATIENCE)), "-t", "house/#", "-v") == "house/door open\n"
    listener = subprocess.Popen(["mosquitto_sub", *at, "-C", "2", "-t", "house/#"], stdout=subprocess.PIPE, text=True)
    try:
        assert listener.stdout.readline() == "open\n", "what was retained"
        programs.run("mosquitto_pub", *at, "-t", "house/window", "-m", "shut")
        assert listener.stdout.readline() == "shut\n"
        assert listener.wait(PATIENCE) == 0
    finally:
        listener.kill()
        listener.wait()
        listener.stdout.close()
    d.cli("restart", "mosquitto", rc=0)
    assert programs.run("mosquitto_sub", *at, "-C", "1", "-W", str(int(PATIENCE)), "-t", "house/door") == "open\n", "it is kept"
    d.stop()


def test_haproxy_in_front_of_nginx(daemon):
    """One request through both, at a stop too: haproxy ends by USR1 when it has answered."""
    d = take(daemon.make(), "nginx", "haproxy").start()
    confined(d, "haproxy")
    front = d.ports[1]
    assert programs.get(front) == b"hello\n"
    workers = [p for p in d.pids("haproxy") if p != d.module("haproxy")["pid"]]
    assert workers and all(os.stat(f"/proc/{p}").st_uid != 0 for p in workers)
    d.cli("stop", "haproxy", rc=0)
    assert d.module("haproxy")["last_exit"]["code"] == 0, "USR1 is a graceful end"
    d.stop()


def test_node(daemon):
    """A request that takes a while is answered although the server is being stopped, and a kept connection does not hold it."""
    d = take(daemon.make(), "node").start()
    port = d.ports[0]
    assert "CapBnd:\t0000000000000000" in confined(d, "node")
    assert programs.get(port) == b"hello, you are number 1\n"
    kept = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    kept.request("GET", "/")
    assert kept.getresponse().read() == b"hello, you are number 2\n"
    answers = []
    asked = threading.Thread(target=lambda: answers.append(programs.get(port, "/slow?1500")))
    asked.start()
    d.wait("node", lambda m: m["work"]["in_flight"] >= 2)
    kept.close()
    d.cli("stop", "node", rc=0)
    asked.join(PATIENCE)
    assert answers == [b"hello, you are number 3\n"], "the request in flight was cut off"
    assert d.module("node")["last_exit"]["code"] == 0 and "stopped after 3 greetings" in d.log_of("node")
    with pytest.raises(OSError):
        programs.get(port)
    d.stop()
