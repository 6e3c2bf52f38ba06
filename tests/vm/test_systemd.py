"""The daemon under systemd, modules alive: what each blow does to the daemon, the modules and their connections. What is
seen here is what docs/systemd.md tells; a line there has its test here.

Modules: `echo`, a server whose connections are tracked, with a client that keeps one connection and counts answers and
losses; `plain`, which marks its start, its stop signal and its exec_stop_post. Each test begins with a started unit and
ends with proof that a stop leaves nothing."""

import json
import re
import time

import pytest

INSIDE = "/opt/bulkhead"
HELPERS = f"{INSIDE}/build/helpers"
PLACE = "/run/bulkhead-test"
SCOPE = "bulkhead-default.scope"
TREE = f"/sys/fs/cgroup/system.slice/{SCOPE}"
PORT = 7411

ECHO = f"""[module]
exec = {HELPERS}/server tcp:{PORT}
ready = tcp:{PORT}
environment = BH_MARK={PLACE}/marks
stop_timeout = 1s
[work]
track = connections
drain_soft = 300ms
drain_hard = 1s
[limits]
memory_max = 64M
cpu_max = 50%
[sandbox]
user = root
"""
PLAIN = f"""[module]
exec = {HELPERS}/probe plain
environment = BH_MARK={PLACE}/marks
exec_stop_post = {HELPERS}/touch post
[sandbox]
user = root
"""
# Ignores every signal: its stop takes as long as its stop_timeout.
STUBBORN = f"""[module]
exec = {HELPERS}/stubborn
environment = BH_MARK={PLACE}/marks
stop_timeout = SECONDSs
[sandbox]
user = root
"""
# One connection, ten answers a second; what becomes of it is in a file, written whole.
CLIENT = f"""
import json, os, socket, time
said = {{"answers": 0, "losses": 0, "connections": 0}}
s = None
while True:
    try:
        if s is None:
            s = socket.create_connection(("127.0.0.1", {PORT}), timeout=5)
            said["connections"] += 1
        s.sendall(b"x")
        if s.recv(1) != b"x":
            raise OSError
        said["answers"] += 1
    except OSError:
        said["losses"] += s is not None
        s = None
    with open("{PLACE}/said.new", "w") as f:
        json.dump(said, f)
    os.rename("{PLACE}/said.new", "{PLACE}/said")
    time.sleep(0.1)
"""
# Holds the main process so that neither SIGTERM nor SIGCONT moves it, as a bug would; until it is killed.
HANG = """
import ctypes, os, sys
libc, pid = ctypes.CDLL(None), int(sys.argv[1])
assert libc.ptrace(16, pid, 0, 0) == 0
os.waitpid(pid, 0x40000000)
print("held", flush=True)
os.waitpid(pid, 0x40000000)
"""


class Unit:
    def __init__(self, guest):
        self.guest = guest
        self.run = guest.run

    def write(self, path, text):
        self.run(f"mkdir -p $(dirname {path}) && cat >{path}", input=text)

    def module(self, name, text):
        self.write(f"/etc/bulkhead/modules.d/{name}.ini", text)

    def drop_in(self, *lines, section="Service"):
        self.write("/run/systemd/system/bulkhead.service.d/test.conf", f"[{section}]\n" + "\n".join(lines) + "\n")
        self.run("systemctl daemon-reload")

    def show(self, unit="bulkhead"):
        return dict(line.partition("=")[::2] for line in self.run(f"systemctl show {unit}").stdout.splitlines())

    def main_pid(self):
        return self.show()["MainPID"]

    def kill(self, signal="KILL", wait_for="! kill -0 {pid}"):
        pid = self.main_pid()
        self.run(f"kill -{signal} {pid}")
        if wait_for:
            self.guest.wait(wait_for.format(pid=pid), f"the daemon {pid} to be gone")
        return pid

    def wait_state(self, state, unit="bulkhead", timeout=120):
        self.guest.wait(f'[ "$(systemctl show -P SubState {unit})" = {state} ]', f"{unit} to be {state}: {self.show(unit)}", timeout)
        return self.show(unit)

    def modules(self):
        return {m["name"]: m for m in json.loads(self.run("bulkhead status --json").stdout)["modules"]}

    def pids(self):
        return {name: m["pid"] for name, m in self.modules().items()}

    def alive(self, pids):
        return self.run("kill -0 " + " ".join(map(str, pids.values())), rc=None).returncode == 0

    def gone(self, pids):
        return all(self.run(f"kill -0 {p}", rc=None).returncode != 0 for p in pids.values())

    def marks(self, what):
        return sum(line.startswith(what + " ") for line in self.run(f"cat {PLACE}/marks", rc=None).stdout.splitlines())

    def connect(self):
        """The client begins, and has an answer."""
        self.write(f"{PLACE}/client.py", CLIENT)
        self.run(f"systemd-run --quiet --collect --unit=bulkhead-test-client python3 {PLACE}/client.py")
        self.guest.wait(f"grep -q '\"answers\": [1-9]' {PLACE}/said", "the client's first answer")

    def said(self):
        return json.loads(self.run(f"cat {PLACE}/said").stdout)

    def answered_on(self):
        """The client's connection has given new answers, and is the first one still."""
        before = self.said()["answers"]
        self.guest.wait(f"python3 -c \"import json; assert json.load(open('{PLACE}/said'))['answers'] > {before} + 5\"", "new answers")
        said = self.said()
        return said["losses"] == 0 and said["connections"] == 1

    def since(self):
        """The unit's journal since this test began."""
        return self.run(f"journalctl --no-pager -o cat --since=@{self.begun} -u bulkhead -u {SCOPE} -t bulkheadd").stdout

    def nothing_left(self):
        """No process, no cgroup, no pin, nothing in /run, no unit."""
        self.guest.wait(f"[ ! -e {TREE} ]", "the scope's cgroup to go", 30)
        left = self.run("ls -d /run/bulkhead /sys/fs/bpf/bulkhead 2>/dev/null; pgrep -ax 'bulkheadd|bulkhead-holder'; "
                        f"pgrep -af '^{HELPERS}/'; grep bulkhead /proc/self/mounts", rc=None).stdout
        assert not left, left
        assert self.show(SCOPE)["LoadState"] == "not-found", self.show(SCOPE)

    def reset(self):
        """As if nothing had been; in one go, and no reload of systemd unless it must be."""
        self.run(f"""
            drop_ins=/run/systemd/system/bulkhead.service.d
            systemctl stop bulkhead-test-client bulkhead-test-hang 2>/dev/null
            systemctl is-active --quiet bulkhead && systemctl stop bulkhead
            [ -e /run/bulkhead ] && bulkhead purge
            [ -e $drop_ins ] && rm -r $drop_ins && systemctl daemon-reload
            systemctl reset-failed bulkhead 2>/dev/null
            rm -rf {PLACE} /etc/bulkhead/modules.d/* /var/log/bulkhead/default
            mkdir -p {PLACE} && touch {PLACE}/marks && chmod 666 {PLACE}/marks""")
        self.begun = self.run("date +%s.%N").stdout.strip()


@pytest.fixture
def unit(guest):
    u = Unit(guest)
    u.reset()
    u.module("echo", ECHO)
    u.module("plain", PLAIN)
    yield u
    print(u.since())
    u.reset()


@pytest.fixture
def up(unit):
    unit.run("systemctl start bulkhead")
    unit.connect()
    return unit


def test_where_things_are(up):
    """The daemon in its unit, the modules in the scope, limits on the leaf, and nothing of the unit's leaks into a module."""
    status = up.modules()
    assert {m["state"] for m in status.values()} == {"running"}, status
    assert status["echo"]["cgroup"] == f"/system.slice/{SCOPE}/modules/echo/1"
    leaf = f"{TREE}/modules/echo/1"
    assert up.run(f"cat {leaf}/memory.max {leaf}/cpu.max").stdout.split() == [str(64 << 20), "50000", "100000"]
    service, scope = up.show(), up.show(SCOPE)
    assert service["ActiveState"] == "active" and service["StatusText"].startswith("Up")
    assert up.run(f"cat /proc/{service['MainPID']}/cgroup").stdout.strip() == "0::/system.slice/bulkhead.service"
    assert scope["ActiveState"] == "active" and scope["Delegate"] == "yes" and scope["KillSignal"] == "18"
    assert "bulkhead.service" in scope["Before"].split() and scope["OOMPolicy"] == "continue" and scope["TasksMax"] == "infinity"
    assert scope["CollectMode"] == "inactive-or-failed" and scope["TimeoutStopUSec"] == "1min 35s", "30s + 30s for the hook, two kills, 15s"
    holder = up.run(f"cat {TREE}/holder/cgroup.procs").stdout.split()
    assert len(holder) == 1
    assert up.run(f"tr -d '\\0' </proc/{holder[0]}/cmdline").stdout == f"bulkhead-holder: keeps {SCOPE}"
    assert int(re.search(r"VmRSS:\s+(\d+)", up.run(f"cat /proc/{holder[0]}/status").stdout).group(1)) <= 64
    pid = status["plain"]["pid"]
    assert up.run(f"cat /proc/{service['MainPID']}/oom_score_adj /proc/{pid}/oom_score_adj").stdout.split() == ["-900", "0"]
    environment = up.run(f"tr '\\0' '\\n' </proc/{pid}/environ").stdout
    assert not re.search("(?m)^(NOTIFY_SOCKET|WATCHDOG|INVOCATION_ID|JOURNAL_STREAM|SYSTEMD_)", environment), environment
    limits = up.run(f"cat /proc/{pid}/limits").stdout
    assert re.search(r"Max open files +1024 +524288", limits), limits
    signals = dict(re.findall(r"(Sig\w+):\s+(\w+)", up.run(f"cat /proc/{pid}/status").stdout))
    assert int(signals["SigIgn"], 16) == 0 and int(signals["SigBlk"], 16) == 0
    up.run("systemctl stop bulkhead")
    up.nothing_left()


def test_the_network_is_the_modules_and_not_the_daemons(up):
    """IPAddressDeny= of the unit does not reach into the scope: the client is answered, and nobody in the unit would be."""
    assert up.answered_on()
    up.write(f"{PLACE}/connect.py", f"import socket\nsocket.create_connection(('127.0.0.1', {PORT}), timeout=2)\n")
    blocked = up.run(f"systemd-run --quiet --collect --pipe --wait -p IPAddressDeny=any python3 {PLACE}/connect.py", rc=None)
    assert blocked.returncode == 1 and "timed out" in blocked.stderr + blocked.stdout, blocked


def test_stop_is_an_orderly_shutdown(up):
    pids = up.pids()
    up.run("systemctl stop bulkhead")
    assert up.gone(pids) and up.marks("down") == 1 and up.marks("post") == 1
    assert up.show()["Result"] == "success" and "event=stopping reason=\"SIGTERM\"" in up.since()
    up.nothing_left()


def test_stopping_the_scope_is_the_same(up):
    pids = up.pids()
    up.run(f"systemctl stop {SCOPE}")
    up.guest.wait("! systemctl is-active bulkhead", "the daemon to end", 30)
    assert up.gone(pids) and up.marks("down") == 1 and up.marks("post") == 1
    assert up.show()["Result"] == "success" and f"{SCOPE} is being stopped" in up.since()
    up.nothing_left()


def test_kill_9_of_the_daemon_costs_no_module(unit):
    unit.drop_in("Restart=no")
    unit.run("systemctl start bulkhead")
    unit.connect()
    pids = unit.pids()
    unit.kill()
    assert unit.wait_state("failed")["Result"] == "signal"
    assert unit.alive(pids) and unit.answered_on() and unit.show(SCOPE)["ActiveState"] == "active"
    unit.run("systemctl start bulkhead")  # without adoption: down in order, and anew, in the same scope
    assert unit.gone(pids) and unit.marks("down") == 1 and unit.marks("post") == 1
    assert unit.since().count("event=leftover-taken-down") == 2
    assert {m["state"] for m in unit.modules().values()} == {"running"}
    unit.run("systemctl stop bulkhead")
    unit.nothing_left()


def test_kill_9_and_restart(up):
    pids = up.pids()
    up.kill()
    up.guest.wait("[ $(systemctl show -P NRestarts bulkhead) = 1 ] && systemctl is-active bulkhead", "the restart")
    assert up.gone(pids) and {m["state"] for m in up.modules().values()} == {"running"}
    assert up.said()["losses"] == 1, "its leftovers were taken down: one connection lost"
    up.run("systemctl stop bulkhead")
    up.nothing_left()


def test_kill_9_until_systemd_gives_up(unit):
    """The modules live on even then, and a purge ends them."""
    unit.drop_in("StartLimitBurst=2", "StartLimitIntervalSec=1h", section="Unit")
    unit.run("systemctl start bulkhead")
    unit.kill()
    unit.guest.wait("[ $(systemctl show -P NRestarts bulkhead) = 1 ] && systemctl is-active bulkhead", "the restart")
    pids = unit.pids()
    unit.kill()
    assert unit.wait_state("failed")["NRestarts"] == "2", "it was to be started a third time"
    assert unit.alive(pids)
    unit.run("bulkhead purge")
    assert unit.gone(pids)
    unit.nothing_left()


def test_the_watchdog_finds_a_daemon_that_hangs(unit):
    unit.drop_in("WatchdogSec=5s", "Restart=no")
    unit.run("systemctl start bulkhead")
    unit.connect()
    pids = unit.pids()
    time.sleep(7)  # it is about time: the loop answers the watchdog while nothing happens
    assert unit.show()["ActiveState"] == "active"
    unit.kill("STOP", wait_for=None)
    assert unit.wait_state("failed")["Result"] == "watchdog"
    assert unit.alive(pids) and unit.answered_on()
    unit.run("systemctl start bulkhead")
    unit.run("systemctl stop bulkhead")
    unit.nothing_left()


@pytest.mark.parametrize("command", ["systemctl daemon-reload", "systemctl daemon-reexec", "systemctl restart dbus"])
def test_systemd_and_dbus_may_come_and_go(up, command):
    pids, holder = up.pids(), up.run(f"cat {TREE}/holder/cgroup.procs").stdout
    up.run(command)
    up.guest.wait("systemctl is-system-running | grep -qE 'running|degraded'", "systemd to be back")
    assert up.alive(pids) and up.pids() == pids and up.answered_on()
    assert up.run(f"cat {TREE}/holder/cgroup.procs").stdout == holder
    assert set(up.run(f"cat {TREE}/modules/cgroup.subtree_control").stdout.split()) >= {"cpu", "memory", "pids"}
    assert up.run(f"cat {TREE}/modules/echo/1/memory.max").stdout.strip() == str(64 << 20)
    up.run("bulkhead restart plain")
    assert up.modules()["plain"]["generation"] == 2
    up.run(f"systemctl stop {SCOPE}")  # still told of a stop
    up.guest.wait("! systemctl is-active bulkhead", "the daemon to end", 30)
    assert up.marks("down") == 2 and up.marks("post") == 2
    up.nothing_left()


def test_without_dbus(unit):
    try:
        unit.run("systemctl stop dbus.socket dbus.service")
        unit.run("systemctl start bulkhead")
        assert {m["state"] for m in unit.modules().values()} == {"running"} and unit.show(SCOPE)["ActiveState"] == "active"
        unit.run("systemctl stop bulkhead")
        unit.nothing_left()
    finally:
        unit.run("systemctl start dbus.socket")


def test_a_killed_holder_is_replaced(up):
    pids, holder = up.pids(), up.run(f"cat {TREE}/holder/cgroup.procs").stdout.strip()
    up.run(f"kill -9 {holder}")
    up.guest.wait(f"[ -n \"$(cat {TREE}/holder/cgroup.procs)\" ]", "another holder")
    assert up.alive(pids) and up.answered_on() and "event=holder-killed" in up.since()
    up.run("systemctl stop bulkhead")
    up.nothing_left()


def test_a_long_stop_is_waited_for(unit):
    """Longer than the unit allows for, and longer than one request for more time."""
    unit.module("slow", STUBBORN.replace("SECONDS", "36"))
    unit.drop_in("TimeoutStopSec=4s")
    unit.run("systemctl start bulkhead")
    begun = time.monotonic()
    unit.run("systemctl stop bulkhead", timeout=180)
    assert 36 <= time.monotonic() - begun < 80 and unit.show()["Result"] == "success", unit.show()
    assert re.search(r"module=slow .*phase=process status=timed-out|module=slow .*exited", unit.since())
    unit.nothing_left()


def test_a_long_start_is_waited_for(unit):
    unit.write("/etc/bulkhead/modules.d/late.ini", f"[module]\nexec = /bin/sleep infinity\nexec_start_pre = /bin/sleep 8\nrequired = yes\n"
               "start_timeout = 60s\n[sandbox]\nuser = root\n")
    unit.drop_in("TimeoutStartSec=4s")
    unit.run("systemctl start bulkhead")
    assert unit.modules()["late"]["state"] == "running"
    unit.run("systemctl stop bulkhead")
    unit.nothing_left()


def test_kill_9_in_the_middle_of_a_stop_is_swept_up(unit):
    unit.module("slow", STUBBORN.replace("SECONDS", "100"))
    unit.run("systemctl start bulkhead")
    pids = unit.pids()
    unit.run("systemctl stop --no-block bulkhead")
    unit.guest.wait("[ -e /run/bulkhead/default/stopping ]", "the stop to begin")
    unit.module("slow", STUBBORN.replace("SECONDS", "1"))
    unit.kill()
    unit.guest.wait("systemctl is-failed bulkhead", "the unit to be down")
    assert unit.gone(pids) and "event=purged" in unit.since() and unit.show()["NRestarts"] == "0"
    unit.nothing_left()


def test_a_daemon_that_hangs_when_stopped_is_killed_and_swept_up(unit):
    unit.drop_in("TimeoutStopSec=3s")
    unit.run("systemctl start bulkhead")
    unit.connect()
    pids = unit.pids()
    unit.write(f"{PLACE}/hang.py", HANG)
    unit.run(f"systemd-run --quiet --collect --unit=bulkhead-test-hang python3 {PLACE}/hang.py {unit.main_pid()}")
    unit.guest.wait(f"grep -q '^State:.*t' /proc/{unit.main_pid()}/status", "the daemon to be held")
    unit.run("systemctl stop bulkhead", timeout=180)
    assert unit.show()["Result"] == "timeout" and unit.gone(pids) and unit.marks("down") == 1 and unit.marks("post") == 1
    assert "event=purged" in unit.since()
    unit.nothing_left()


def test_stop_right_after_a_crash(up):
    """The stop comes some time while systemd restarts the unit: what the crash left goes down with it."""
    pids = up.pids()
    up.run(f"kill -9 {up.main_pid()}; systemctl stop bulkhead")
    assert up.gone(pids) and up.marks("down") == up.marks("up"), "what started has been told to stop"
    up.nothing_left()


def test_stop_before_the_restart_after_a_crash(unit):
    """The stop comes while ExecStopPost runs: systemd restarts nothing then, so ExecStopPost ends the modules."""
    unit.drop_in("ExecStopPost=", f"ExecStopPost=/bin/cat {PLACE}/gate", "ExecStopPost=-/usr/sbin/bulkheadd --purge --after-stop")
    unit.run(f"mkfifo {PLACE}/gate && systemctl start bulkhead")
    pids = unit.pids()
    unit.kill()
    unit.wait_state("stop-post")
    unit.run("systemctl stop --no-block bulkhead")
    unit.run(f"timeout 60 sh -c 'echo >{PLACE}/gate'")
    unit.guest.wait("! systemctl is-active bulkhead | grep -q ing", "the stop to be over", 60)
    assert unit.gone(pids) and unit.marks("down") == 1 and unit.marks("post") == 1
    assert "event=purged" in unit.since()
    unit.nothing_left()


def test_stopping_the_scope_of_a_dead_daemon(unit):
    """The holder takes the modules down in the daemon's stead."""
    unit.drop_in("Restart=no")
    unit.run("systemctl start bulkhead")
    pids = unit.pids()
    unit.kill()
    unit.wait_state("failed")
    assert unit.alive(pids)
    unit.run(f"systemctl stop {SCOPE}")
    assert unit.gone(pids) and unit.marks("down") == 1 and unit.marks("post") == 1, "in order, with its hook"
    assert "event=purged" in unit.since()
    unit.nothing_left()


def test_purge_after_a_crash(unit):
    unit.drop_in("Restart=no")
    unit.run("systemctl start bulkhead")
    pids = unit.pids()
    assert f"pid {unit.main_pid()}" in unit.run("bulkhead purge", rc=1).stderr
    unit.kill()
    unit.wait_state("failed")
    unit.run("bulkhead purge")
    assert unit.gone(pids) and unit.marks("post") == 1
    unit.nothing_left()


def test_both_are_killed_and_the_record_is_lost(unit):
    """The next daemon finds the modules by the scope's name alone."""
    unit.drop_in("Restart=no")
    unit.run("systemctl start bulkhead")
    pids = unit.pids()
    unit.run(f"kill -9 $(cat {TREE}/holder/cgroup.procs) {unit.main_pid()}; rm -rf /run/bulkhead")
    unit.wait_state("failed")
    assert unit.alive(pids)
    unit.run("systemctl start bulkhead")
    assert unit.gone(pids) and unit.marks("down") == 1
    unit.run("systemctl stop bulkhead")
    unit.nothing_left()


def test_a_bad_configuration_is_not_tried_again(unit):
    unit.module("plain", "[module]\nexec\n")
    unit.run("systemctl start bulkhead", rc=1)
    shown = unit.wait_state("failed")
    assert shown["ExecMainStatus"] == "78" and shown["NRestarts"] == "0"
    assert "plain.ini:2" in unit.since()
    unit.nothing_left()


def test_a_foreign_scope_of_that_name_is_left_alone(unit):
    unit.run(f"systemd-run --scope --unit={SCOPE.removesuffix('.scope')} sleep 300 >/dev/null 2>&1 &")
    unit.guest.wait(f"systemctl is-active {SCOPE}")
    unit.drop_in("Restart=no")
    unit.run("systemctl start bulkhead", rc=1)
    assert re.search(rf"{SCOPE} also holds \d+ \(sleep\)", unit.since()), unit.since()
    assert unit.show(SCOPE)["ActiveState"] == "active"
    unit.run(f"systemctl stop {SCOPE}", timeout=180)


def test_a_daemon_started_by_hand_in_an_ssh_session(unit):
    """Beside sshd and a shell, where there is no cgroup of its own; it lives and dies without touching theirs."""
    before = unit.run("cat /proc/self/cgroup", alone=True).stdout
    unit.run("setsid bulkheadd --instance hand >/run/bulkhead-hand.log 2>&1 </dev/null &", alone=True)
    unit.guest.wait("bulkhead --instance hand status", "the daemon of the ssh session")
    modules = json.loads(unit.run("bulkhead --instance hand status --json").stdout)["modules"]
    assert {m["state"] for m in modules} == {"running"} and {m["cgroup"].split("/")[2] for m in modules} == {"bulkhead-hand.scope"}
    assert unit.run("cat /proc/self/cgroup", alone=True).stdout.split("/")[:2] == before.split("/")[:2], "a new session still gets its place"
    unit.run("bulkhead --instance hand shutdown")
    left = unit.run("ls -d /sys/fs/cgroup/system.slice/bulkhead-hand.scope /run/bulkhead/hand 2>/dev/null", rc=None).stdout
    assert not left, left
    unit.run("rm -rf /run/bulkhead-hand.log /var/log/bulkhead/hand")


def test_the_demo_in_an_ssh_session(unit):
    done = unit.run(f"cd {INSIDE} && BULKHEAD_TEST_SLOW=5 tools/demo build", rc=None, timeout=900, alone=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_going_down_with_the_machine(unit):
    """systemd stops the daemon first: the modules go in phases, and nobody is killed by a time-out."""
    place = "/var/tmp/bulkhead-test-marks"
    unit.run(f"rm -f {place}; touch {place}")
    unit.module("plain", PLAIN.replace(f"{PLACE}/marks", place))
    unit.run("systemctl enable bulkhead 2>&1 && systemctl start bulkhead")
    unit.guest.reboot()
    try:
        marks = unit.run(f"cat {place}").stdout
        assert [line.split()[0] for line in marks.splitlines()] == ["up", "down", "post", "up"], marks
        assert {m["state"] for m in unit.modules().values()} == {"running"}, "enabled, so back after the boot"
        journal = unit.since()
        assert journal.count("event=stopping") == 1 and "timed out" not in journal and "Killing" not in journal, journal
    finally:
        unit.run(f"systemctl disable bulkhead 2>&1; rm -f {place}")


def test_going_down_with_the_machine_after_a_crash(unit):
    """No daemon any more: the holder sees to it."""
    place = "/var/tmp/bulkhead-test-marks"
    unit.run(f"rm -f {place}; touch {place}")
    unit.module("plain", PLAIN.replace(f"{PLACE}/marks", place))
    unit.drop_in("Restart=no")
    unit.run("systemctl start bulkhead")
    unit.kill()
    unit.wait_state("failed")
    unit.guest.reboot()
    marks = unit.run(f"cat {place}; rm {place}").stdout
    assert [line.split()[0] for line in marks.splitlines()] == ["up", "down", "post"], marks
