"""bulkhead reload: by a command, by a signal, by sd_notify's words; with nginx and redis; and kill --main."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess

import pytest

from lib import helper, wait_for

# A program of Type=notify-reload, with its own hands. On SIGHUP it says RELOADING=1 as told by its second word, waits for a
# byte of a FIFO, and says READY=1. Each reload leaves a line in a file.
PROGRAM = r"""
import os, signal, socket, sys, time
how, fifo, log = sys.argv[1:]
def say(text):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.sendto(text.encode(), os.environ["NOTIFY_SOCKET"])
def reload(*_):
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    if how == "stale":
        say(f"RELOADING=1\nMONOTONIC_USEC={now - 60_000_000}")
        say("READY=1")
    elif how == "plain":
        say("RELOADING=1\nSTATUS=reading")
    elif how != "mute":
        say(f"RELOADING=1\nMONOTONIC_USEC={now}")
    if how == "die":
        os._exit(3)
    with open(log, "a") as f:
        f.write("reloaded\n")
    if fifo != "-":
        with open(fifo, "rb", 0) as f:
            f.read(1)
    say("READY=1")
signal.signal(signal.SIGHUP, reload)
say("READY=1")
while True:
    signal.pause()
"""


def program(d, how="good", fifo="-", **keys):
    (d.scratch / "program.py").write_text(PROGRAM)
    d.add("m", {"module.exec": f"/usr/bin/python3 {d.scratch}/program.py {how} {fifo} {d.scratch}/log", "module.ready": "notify",
                "recovery.restart": "no"} | {f"module.{k}": v for k, v in keys.items()})
    return d.start()


def background(d, *args):
    return subprocess.Popen(d.argv(*args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("how", ["good", "plain"])
@pytest.mark.parametrize("keys", [{"reload_signal": "HUP"}, {"exec_reload": "/bin/kill -HUP ${MAINPID} ; /bin/sleep 0.5"}])
def test_reload_waits_until_the_program_is_ready_again(daemon, how, keys):
    d = daemon.make()
    go = d.fifo("go")
    program(d, how, go, **keys)
    before = d.module("m")
    assert before["reload"] is None
    client = background(d, "reload", "m")
    d.wait("m", lambda m: m["reload"] and m["reload"]["running"])
    wait_for(lambda: (d.scratch / "log").exists(), "the program to have the signal")
    assert "reload: under way" in d.cli("status", "m").out
    second = d.cli("reload", "m")
    assert second.rc == 1 and re.search(r"m is being reloaded, for \S+ \(one at a time\)", second.err), second
    assert client.poll() is None
    d.go(go)
    assert client.wait(60) == 0, client.stderr.read()
    m = d.module("m")
    assert m["pid"] == before["pid"] and m["generation"] == 1 and m["state"] == "running"
    assert m["reload"]["running"] is False and m["reload"]["last_error"] is None and m["reload"]["last_usec"]
    by = d.wait_event(event="reloading")["detail"]
    assert by == {"by": list(keys)[0]} and d.wait_event(event="reloaded")
    client.stdout.close(), client.stderr.close()
    d.cli("reload", "--no-block", "m", rc=0)
    d.wait_event(event="running")
    wait_for(lambda: len([e for e in d.events.read() if e["event"] == "reloading"]) == 2, "the second reload")
    d.stop()


@pytest.mark.parametrize("how,said", [("mute", "it did not say RELOADING=1 within exec_reload_timeout 2s"),
                                      ("stale", "it did not say RELOADING=1 within exec_reload_timeout 2s")])
def test_a_program_that_says_nothing_is_a_failed_reload_and_runs_on(daemon, how, said):
    d = program(daemon.make(), how, reload_signal="HUP", exec_reload_timeout="2s")
    done = d.cli("reload", "m", rc=1)
    assert f"m: reload failed: {said}" in done.err and "exec_reload = /bin/kill -HUP ${MAINPID}" in done.err, done
    m = d.module("m")
    assert m["state"] == "running" and m["generation"] == 1 and said in m["reload"]["last_error"]
    assert "last reload failed" in d.cli("status").out and "reload: failed" in d.cli("status", "m").out
    d.stop()


def test_no_ready_after_reloading(daemon):
    d = daemon.make()
    program(d, "good", d.fifo("never"), reload_signal="HUP", start_timeout="5s")
    done = d.cli("reload", "m", rc=1)
    assert "it said RELOADING=1, and not READY=1 within start_timeout 5s" in done.err
    assert d.module("m")["reload"]["running"], "it still says so of itself"
    d.stop()


@pytest.mark.parametrize("how,said", [("die", "it ended meanwhile"), ("good", "it was stopped meanwhile")])
def test_an_end_ends_the_reload(daemon, how, said):
    d = daemon.make()
    program(d, how, d.fifo("never"), reload_signal="HUP")
    client = background(d, "reload", "m")
    d.wait_event(event="reloading")
    if how == "good":
        wait_for(lambda: (d.scratch / "log").exists(), "the signal")
        d.cli("stop", "m", rc=0)
    assert client.wait(60) == 1
    assert f"m: reload failed: {said}" in client.stderr.read()
    client.stdout.close(), client.stderr.close()
    d.stop()


def test_what_cannot_be_reloaded_is_refused_with_what_would_help(daemon):
    d = daemon({"none": {"module.exec": f"{helper('probe')} none"},
                "down": {"module.exec": f"{helper('probe')} down", "module.reload_signal": "HUP", "module.start": "manual"},
                "bad": {"module.exec": f"{helper('probe')} bad", "module.exec_reload": "/bin/true ; /bin/sh -c 'exit 9'"},
                "slow": {"module.exec": f"{helper('probe')} slow", "module.exec_reload": "/bin/sleep 600", "module.exec_reload_timeout": "1s"}})
    done = d.cli("reload", "none", rc=1)
    assert f"none has neither exec_reload nor reload_signal (add reload_signal = HUP to {d.config}/modules.d/none.ini)" in done.err
    done = d.cli("reload", "down", rc=1)
    assert "down cannot be reloaded: it does not run (bulkhead start down)" in done.err
    done = d.cli("reload", "bad", rc=1)
    assert "bad: reload failed: /bin/sh (2 of 2): exit status 9" in done.err and d.module("bad")["state"] == "running"
    done = d.cli("reload", "slow", rc=1)
    assert "/bin/sleep: not over after exec_reload_timeout 1s: killed" in done.err
    assert d.cli("reload", "nobody").rc == 3
    d.stop()


def test_who_is_not_root_cannot_signal_a_main_process_that_is_but_the_daemon_can(daemon):
    d = daemon.make()
    mark = d.scratch / "hup"
    catcher = f"/bin/sh -c 'trap \"echo x >> {mark}\" HUP; while :; do sleep 0.1; done'"
    d.add("signal", {"module.exec": catcher, "module.reload_signal": "HUP", "sandbox.user": "nobody", "sandbox.group": "nogroup"})
    d.start()
    d.wait("signal", "running")
    # exec shows nothing of the trap: asked again until it is there
    wait_for(lambda: d.cli("reload", "signal").rc == 0 and mark.exists() or d.module("signal")["state"] != "running", "the trap")
    d.stop()


def get(port, path="/"):
    with socket.create_connection(("127.0.0.1", port), 20) as s:
        s.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        data = b""
        while more := s.recv(4096):
            data += more
    return data.split(b"\r\n\r\n", 1)[1].decode()


@pytest.mark.parametrize("keys", [{"module.reload_signal": "HUP"}, {"module.exec_reload": "/usr/sbin/nginx -t -c {conf} ; /bin/kill -HUP ${MAINPID}"}])
def test_nginx_keeps_its_pid_and_its_connections(daemon, keys):
    assert shutil.which("nginx"), "nginx is missing (tools/setup installs it)"
    d = daemon.make()
    port = d.port()
    conf = d.scratch / "nginx.conf"

    def write(word):
        conf.write_text(f"pid {d.scratch}/nginx.pid; error_log stderr; worker_processes 1; events {{}}\n"
                        f"http {{ access_log off; keepalive_timeout 60s; client_body_temp_path {d.scratch}/b; proxy_temp_path {d.scratch}/p; "
                        f"fastcgi_temp_path {d.scratch}/f; uwsgi_temp_path {d.scratch}/u; scgi_temp_path {d.scratch}/s;\n"
                        f"server {{ listen 127.0.0.1:{port}; location / {{ return 200 {word}; }} }} }}\n")

    write("old")
    d.add("web", {"module.exec": f"/usr/sbin/nginx -c {conf} -g 'daemon off;'", "module.ready": f"tcp:{port}", "module.stop_signal": "QUIT"}
          | {k: v.replace("{conf}", str(conf)) for k, v in keys.items()})
    d.start()
    assert get(port) == "old"
    before = d.module("web")
    # a request that is begun before the reload and ended after it is answered by the worker that has it
    with socket.create_connection(("127.0.0.1", port), 20) as begun:
        begun.sendall(b"GET / HTTP/1.0\r\nX: y\r\n")
        write("new")
        d.cli("reload", "web", rc=0)
        wait_for(lambda: get(port) == "new", "the new configuration")
        begun.sendall(b"\r\n")
        begun.settimeout(20)
        answer = b""
        while more := begun.recv(4096):
            answer += more
    assert answer.startswith(b"HTTP/1.1 200") and answer.split(b"\r\n\r\n", 1)[1] in (b"old", b"new"), answer
    after = d.module("web")
    assert (after["pid"], after["generation"], after["restarts"]) == (before["pid"], 1, 0)
    if "module.exec_reload" in keys:
        conf.write_text("nonsense")
        done = d.cli("reload", "web", rc=1)
        assert "reload failed: /usr/sbin/nginx (1 of 2): exit status 1" in done.err
        # After a good reload nginx's old worker answers, too, until it has been told to go: once with "new" is not for good.
        wait_for(lambda: all(get(port) == "new" for _ in range(5)), "the configuration from before")
    d.stop()


def test_redis_takes_its_configuration_by_a_command(daemon):
    assert shutil.which("redis-server"), "redis-server is missing (tools/setup installs it)"
    d = daemon.make()
    port = d.port()
    d.add("cache", {"module.exec": f"/usr/bin/redis-server --port {port} --bind 127.0.0.1 --save '' --dir {d.scratch}", "module.ready": f"tcp:{port}",
                    "module.exec_reload": f"/usr/bin/redis-cli -p {port} set kept yes ; /usr/bin/redis-cli -p {port} config set maxmemory 50mb"})
    d.start()
    pid = d.module("cache")["pid"]
    d.cli("reload", "cache", rc=0)
    ask = lambda *words: subprocess.run(["redis-cli", "-p", str(port), *words], capture_output=True, text=True).stdout.split()  # noqa: E731
    assert ask("config", "get", "maxmemory") == ["maxmemory", str(50 << 20)] and ask("get", "kept") == ["yes"]
    assert d.module("cache")["pid"] == pid
    d.stop()


def test_a_reload_over_the_bus(daemon):
    d = daemon({"m": {"module.exec": f"{helper('probe')} m", "module.exec_reload": f"{helper('touch')} reloaded"}})
    call = ["busctl", f"--address=unix:path=/run/bulkhead/{d.instance}/bus", "call", "org.bulkhead1", "/org/bulkhead1", "org.bulkhead1.Manager"]
    done = subprocess.run(call + ["ReloadModule", "st", "m", "0"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert d.marks.wait("reloaded")
    done = subprocess.run(call + ["ReloadModule", "st", "m", "4"], capture_output=True, text=True)
    assert "flag 4" in done.stderr
    d.stop()


def test_kill_reaches_all_or_the_main_process_alone(daemon):
    """The main process forks; each notes the signals it gets."""
    d = daemon.make()
    script = d.scratch / "two.py"
    script.write_text("import os, signal, sys\n"
                      "who = 'child' if os.fork() == 0 else 'main'\n"
                      "for s in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):\n"
                      f"    signal.signal(s, lambda n, f: open('{d.scratch}/got', 'a').write(f'{{who}} {{n}}\\n'))\n"
                      f"open('{d.scratch}/up-' + who, 'w').close()\n"
                      "while True:\n    signal.pause()\n")
    d.add("m", {"module.exec": f"/usr/bin/python3 {script}"})
    d.start()
    wait_for(lambda: (d.scratch / "up-main").exists() and (d.scratch / "up-child").exists(), "both to be there")
    got = lambda: sorted((d.scratch / "got").read_text().split("\n")[:-1]) if (d.scratch / "got").exists() else []  # noqa: E731
    d.cli("kill", "--main", "--signal", "HUP", "m", rc=0)
    wait_for(lambda: got() == [f"main {signal.SIGHUP:d}"], got)
    d.cli("kill", "--signal", str(int(signal.SIGUSR1)), "m", rc=0)
    wait_for(lambda: got() == sorted([f"main {signal.SIGHUP:d}", f"main {signal.SIGUSR1:d}", f"child {signal.SIGUSR1:d}"]), got)
    assert d.cli("kill", "-s", "NOPE", "m").rc == 2
    d.cli("kill", "--main", "m", rc=0)  # TERM
    d.wait("m", lambda m: m["last_exit"] and m["last_exit"]["signal"] == signal.SIGTERM)
    d.stop()
