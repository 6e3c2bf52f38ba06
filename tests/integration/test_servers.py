"""Real servers behind real bulkheads: nginx and redis, with limits, profile, users and tracked connections."""

import hashlib
import os
import shutil
import socket
import subprocess
import urllib.request

import pytest

from lib import PHASES, alive, wait_for

NGINX, REDIS, CURL = (shutil.which(x, path="/usr/sbin:/usr/bin:/sbin:/bin") for x in ("nginx", "redis-server", "curl"))
needs_nginx = pytest.mark.skipif(not NGINX or not CURL, reason="nginx or curl is not installed")
needs_redis = pytest.mark.skipif(not REDIS, reason="redis-server is not installed")


def nginx(d, limit_rate="0", **keys):
    """Master as root, two workers as www-data, one file of 1 MiB."""
    port = d.port()
    root = d.scratch / "www"
    root.mkdir()
    (root / "file").write_bytes(os.urandom(1 << 20))
    (root / "small").write_text("small\n")
    os.chmod(root, 0o755)
    (d.dir / "nginx.conf").write_text(f"""
daemon off; worker_processes 2; pid {d.scratch}/nginx.pid; error_log stderr; user www-data;
events {{ worker_connections 256; }}
http {{
    access_log off; client_body_temp_path {d.scratch}/b; proxy_temp_path {d.scratch}/p; fastcgi_temp_path {d.scratch}/f;
    uwsgi_temp_path {d.scratch}/u; scgi_temp_path {d.scratch}/s; keepalive_timeout 30; sendfile on;
    server {{ listen 127.0.0.1:{port}; root {root}; location /file {{ limit_rate {limit_rate}; }} }}
}}
""")
    d.add("nginx", {"module.exec": f"{NGINX} -c {d.dir}/nginx.conf -e stderr", "module.ready": f"tcp:{port}", "module.stop_signal": "SIGQUIT",
                    "sandbox.user": "root", "sandbox.profile": "network-server", "work.track": "connections", "work.ports": port,
                    "limits.memory_max": "128M", "limits.pids_max": 32, "limits.nofile": 1024} | keys)
    return port


def uid_of(pid):
    """The effective user; the owner of /proc/PID is root's for who changed its user."""
    return int(next(x for x in open(f"/proc/{pid}/status") if x.startswith("Uid:")).split()[2])


def get(port, path="small"):
    return urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10).read()


@needs_nginx
def test_nginx_serves_is_counted_and_ends(daemon):
    d = daemon.make()
    port = nginx(d)
    d.start()
    pids = wait_for(lambda: len(d.pids("nginx")) == 3 and d.pids("nginx"), lambda: d.pids("nginx"))
    wait_for(lambda: sorted(uid_of(p) for p in pids) == [0, 33, 33], lambda: [uid_of(p) for p in pids])
    for p in pids:
        status = open(f"/proc/{p}/status").read()
        assert "Seccomp:\t2" in status and "NoNewPrivs:\t1" in status
    for _ in range(25):
        assert get(port) == b"small\n"
    d.wait("nginx", lambda m: m["work"]["in_flight"] == 0)
    work = d.module("nginx")["work"]
    assert (work["started"], work["completed"], work["errors"]) == (25, 25, 0), work
    kept = [socket.create_connection(("127.0.0.1", port)) for _ in range(7)]
    wait_for(lambda: d.module("nginx")["work"]["in_flight"] == 7, lambda: d.module("nginx")["work"])
    assert d.module("nginx")["work"]["in_flight_peak"] >= 7 and d.module("nginx")["work"]["started"] == 32
    for s in kept:
        s.close()
    wait_for(lambda: d.module("nginx")["work"]["in_flight"] == 0, lambda: d.module("nginx")["work"])
    d.cli("stop", "nginx", rc=0)
    assert not any(alive(p) for p in pids)
    d.stop()


@needs_nginx
def test_a_running_download_ends_before_its_server_does(daemon, tmp_path):
    d = daemon.make()
    port = nginx(d, limit_rate="512k")
    d.start()
    whole = hashlib.sha256((d.scratch / "www" / "file").read_bytes()).hexdigest()
    curl = subprocess.Popen([CURL, "-sS", "-o", str(tmp_path / "file"), f"http://127.0.0.1:{port}/file"])
    wait_for(lambda: (tmp_path / "file").exists() and (tmp_path / "file").stat().st_size > 0, "the download to begin")
    d.cli("stop", "nginx", rc=0)
    assert curl.wait(20) == 0
    assert hashlib.sha256((tmp_path / "file").read_bytes()).hexdigest() == whole
    teardown = {p["phase"]: p for p in d.module("nginx")["teardown"]}
    assert teardown["drain"]["status"] == "ok" and teardown["drain"]["duration_usec"] > 500000, teardown
    assert teardown["process"]["status"] == "ok"
    work = d.module("nginx")["work"]
    assert (work["started"], work["completed"], work["in_flight"], work["errors"]) == (1, 1, 0, 0)
    d.stop()


@needs_nginx
def test_the_map_reads_like_a_report(daemon):
    d = daemon.make()
    port = nginx(d)
    d.start()
    for _ in range(3):
        get(port)
    d.wait("nginx", lambda m: m["work"]["completed"] == 3)
    out = subprocess.run(["bpftool", "map", "dump", "pinned", f"/sys/fs/bpf/bulkhead/{d.instance}/work"], capture_output=True, text=True)
    assert out.returncode == 0 and '"started": 3' in out.stdout and '"completed": 3' in out.stdout, out
    assert '"name": "nginx"' in out.stdout or "nginx" in out.stdout.replace('",\n', "").replace('"', "").replace(" ", ""), out.stdout
    d.stop()


@needs_nginx
def test_counters_outlive_a_restart(daemon):
    d = daemon.make()
    port = nginx(d)
    d.start()
    get(port)
    d.cli("restart", "nginx", rc=0)
    get(port)
    m = d.wait("nginx", lambda m: m["work"]["completed"] == 2)
    assert m["generation"] == 2 and m["work"]["started"] == 2
    d.stop()


@needs_nginx
def test_a_killed_worker_and_a_killed_master(daemon):
    d = daemon.make()
    nginx(d)
    d.start()
    m = d.module("nginx")
    wait_for(lambda: len(d.pids("nginx")) == 3, lambda: d.pids("nginx"))
    workers = [p for p in d.pids("nginx") if p != m["pid"]]
    os.kill(workers[0], 9)
    wait_for(lambda: len(d.pids("nginx")) == 3 and workers[0] not in d.pids("nginx"), "a new worker")
    assert d.module("nginx")["generation"] == 1, "a worker's end is the master's business"
    os.kill(m["pid"], 9)
    second = d.wait("nginx", lambda m: m["generation"] == 2 and m["state"] == "running")
    assert second["last_exit"]["signal"] == 9 and not alive(workers[1]), "no orphan of the first generation stays"
    d.stop()


def redis_say(port, *words):
    s = socket.create_connection(("127.0.0.1", port), 10)
    s.sendall(f"*{len(words)}\r\n".encode() + b"".join(f"${len(w)}\r\n{w}\r\n".encode() for w in words))
    answer = s.recv(4096)
    s.close()
    return answer


@needs_redis
def test_redis_as_its_own_user(daemon):
    d = daemon.make()
    port = d.port()
    data = d.scratch / "redis"
    data.mkdir()
    os.chown(data, 33, 33)
    (d.dir / "redis.conf").write_text(f"bind 127.0.0.1\nport {port}\ndir {data}\nsave \"\"\nappendonly yes\n")
    os.chmod(d.dir / "redis.conf", 0o644)
    d.add("redis", {"module.exec": f"{REDIS} {d.dir}/redis.conf", "module.ready": f"tcp:{port}", "sandbox.user": "www-data",
                    "sandbox.profile": "network-server", "work.track": "connections", "limits.memory_max": "128M", "limits.pids_max": 64,
                    "limits.nofile": 1024})
    d.start()
    m = d.module("redis")
    assert uid_of(m["pid"]) == 33
    before = m["work"]["started"]
    for i in range(20):
        assert redis_say(port, "SET", f"k{i}", "v") == b"+OK\r\n"
    m = d.wait("redis", lambda m: m["work"]["in_flight"] == 0)
    assert m["work"]["started"] - before == 20 and m["work"]["completed"] - before == 20
    # A background rewrite forks under the profile: it must work, and end.
    assert redis_say(port, "BGREWRITEAOF").startswith(b"+")
    wait_for(lambda: b"aof_rewrite_in_progress:0" in redis_say(port, "INFO", "persistence"), "the rewrite to end")
    assert b"aof_last_bgrewrite_status:ok" in redis_say(port, "INFO", "persistence")
    d.cli("restart", "redis", rc=0)
    # it listens, and is ready, before it has read its data
    wait_for(lambda: not redis_say(port, "GET", "k7").startswith(b"-LOADING"), "redis to have loaded its data")
    assert redis_say(port, "GET", "k7") == b"$1\r\nv\r\n"
    teardown = {p["phase"]: p["status"] for p in d.module("redis")["teardown"]}
    assert list(teardown) == PHASES and teardown["process"] == "ok"
    d.stop()
