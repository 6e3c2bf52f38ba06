"""The modules of policies/examples as they are, but for what drop-ins say: ports and directories of the test's own. Each
passes `check`, starts, serves, and is gone after stop; at the end of each test the harness looks for what was left."""

import hashlib
import json
import os
import shutil
import socket
import urllib.request

import pytest

from lib import SOURCE, alive, wait_for

EXAMPLES = SOURCE / "policies/examples"
NAMES = sorted(p.stem for p in EXAMPLES.glob("*.ini"))
DROP_INS = {}  # name → what makes its drop-in for a daemon


def needs(*programs):
    missing = [p for p in programs if not os.access(p, os.X_OK)]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


needs_nginx = needs("/usr/sbin/nginx")
needs_redis = needs("/usr/bin/redis-server")


def drop_in(make):
    DROP_INS[make.__name__] = make
    return make


@drop_in
def nginx(d):
    www = d.scratch / "www"
    www.mkdir()
    (www / "index.html").write_text("hello\n")
    conf = d.dir / "nginx.conf"
    conf.write_text(f"""
user www-data; worker_processes 2; pid {d.scratch}/nginx.pid; error_log stderr;
events {{ worker_connections 64; }}
http {{
    access_log off; client_body_temp_path {d.scratch}/t; proxy_temp_path {d.scratch}/t; fastcgi_temp_path {d.scratch}/t;
    uwsgi_temp_path {d.scratch}/t; scgi_temp_path {d.scratch}/t;
    server {{ listen 127.0.0.1:{d.port()}; root {www}; }}
}}
""")
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


def take(d, *names):
    """These examples with their drop-ins, in the order given."""
    for name in names:
        d.add(name, (EXAMPLES / f"{name}.ini").read_text())
        d.write(f"modules.d/{name}.ini.d/test.ini", DROP_INS[name](d))
    return d


def redis_say(d, *words):
    with socket.create_connection(("127.0.0.1", d.ports[0]), 10) as s:
        s.sendall(f"*{len(words)}\r\n".encode() + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
        return s.recv(4096)


def test_each_example_has_a_test():
    assert set(NAMES) == set(DROP_INS) and NAMES


@needs_redis  # its package makes the user that redis.ini names
def test_the_examples_pass_check_as_they_are(daemon):
    d = daemon.make()
    for name in NAMES:
        d.add(name, (EXAMPLES / f"{name}.ini").read_text())
    done = d.cli("check", str(d.config), rc=0)
    assert done.out + done.err == ""


@needs_nginx
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


@needs_nginx
def test_a_broken_nginx_configuration_fails_the_start_with_its_words(daemon):
    d = take(daemon.make(), "nginx")
    (d.dir / "nginx.conf").write_text("no_such_directive;\n")
    d.write("modules.d/nginx.ini.d/zz.ini", "[module]\nstart = manual\n[recovery]\nrestart = no\n")
    d.start()
    d.cli("start", "nginx", rc=1)
    assert 'unknown directive "no_such_directive"' in d.log_of("nginx")
    assert d.json("explain", "nginx")["last_error"]["stage"] == "exec_start_pre"
    d.stop()


@needs_redis
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


@needs_redis
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
