#!/usr/bin/python3
"""A Debian guest under qemu's TCG, driven over ssh: for tests as a context manager, for people as a command.

    with Guest("12") as guest:
        guest.run("systemctl status")        # a CompletedProcess; raises unless the status is 0, or is the `rc` given
        guest.reboot()

    tests/vm/guest.py start 12               # boots one that stays
    tests/vm/guest.py run 12 'uname -a'      # also: shell, put, get, reboot, console, stop, list

A guest runs on a copy of the cached image (tests/vm/image), so each begins the same; what it writes stays through reboots
and goes with it. It reaches nothing but the ssh port that is forwarded to it from a loopback port here. qemu ends with
`stop()`, with the `with` block, and also when this process dies (not after `start` on the command line). Any other end of
qemu is an error: the kernel reboots on panic, and qemu exits on reboot, so a panic is seen at once, with the console.

One processor, because TCG is not to be trusted with more: with a thread each (thread=multi) qemu 7.2 may run code of the
kernel's as it was before the kernel patched it, and the guest hangs or dies of an int3 that is long gone; taking turns
(thread=single) each waits up to 100 ms for the other. docs/vm.md has what was seen.

No wait is without a deadline; each failure shows the last lines of the console.
"""

import argparse
import contextlib
import ctypes
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
RELEASES = {"12": "bookworm", "13": "trixie"}
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bulkhead/vm"
BOOT_PATIENCE = 400  # seconds from power on to "up"; 20 to 40 are usual, on a machine with other work it was 200
RUN_PATIENCE = 120  # seconds for a command, unless told otherwise
PR_SET_PDEATHSIG = 1
# Retpolines defeat TCG's prediction of jumps: without them a boot takes a third less processor time.
KERNEL = "root=/dev/vda rw console=ttyS0 panic=-1 systemd.show_status=1 mitigations=off"


class GuestError(Exception):
    """The guest itself failed: it did not boot, hung, or died."""


def _die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def image(release):
    """The folder of the release's image, which is built unless it is there."""
    return Path(subprocess.run([HERE / "image", release], stdout=subprocess.PIPE, text=True, check=True).stdout.strip())


class Guest:
    """`folder` holds the disk and the rest; without one a temporary folder does, which goes with the guest."""

    def __init__(self, release, folder=None, memory=2048, cpus=1, stays=False, console=None):
        assert release in RELEASES, f"no release {release}: {', '.join(RELEASES)}"
        self.release, self.memory, self.cpus, self.stays = release, memory, cpus, stays
        self.temporary = folder is None
        self.folder = Path(folder or tempfile.mkdtemp(prefix=f"bulkhead-vm{release}-", dir="/var/tmp"))
        self.console_path = Path(console or self.folder / "console.log")
        self.process = self.pid = self.port = None
        self.boots = 0

    # --- life

    def __enter__(self):
        try:
            return self.boot()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_):
        self.stop()

    def boot(self):
        """Powers on and waits until systemd has started all. On first use the disk is copied from the image."""
        if not (self.folder / "disk.img").exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            self.console_path.parent.mkdir(parents=True, exist_ok=True)
            self.console_path.write_bytes(b"")
            source = image(self.release)
            for name in ("vmlinuz", "initrd.img", "id_ed25519", "known_hosts"):
                shutil.copy(source / name, self.folder / name)
            subprocess.run(["cp", "--sparse=always", "--reflink=auto", source / "disk.img", self.folder / "disk.new"], check=True)
            os.rename(self.folder / "disk.new", self.folder / "disk.img")
        self._power_on()
        self._wait_up()
        self.boots += 1
        return self

    def _power_on(self):
        self.port = free_port()
        argv = ["qemu-system-x86_64", "-accel", "tcg,thread=single", "-cpu", "max",
                "-m", str(self.memory), "-smp", str(self.cpus), "-no-reboot", "-nodefaults", "-display", "none",
                "-kernel", "vmlinuz", "-initrd", "initrd.img", "-append", KERNEL,
                "-drive", "file=disk.img,if=virtio,format=raw,cache=unsafe",
                "-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-:22",
                "-device", "virtio-net-pci,netdev=net,romfile=",
                "-chardev", f"file,id=console,path={self.console_path.resolve()},append=on", "-serial", "chardev:console",
                "-monitor", "unix:monitor,server=on,wait=off"]
        with open(self.folder / "qemu.log", "ab") as log:
            self.process = subprocess.Popen(argv, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True, preexec_fn=None if self.stays else _die_with_parent)
        self.pid = self.process.pid
        self._save()

    def _wait_up(self):
        end = time.monotonic() + BOOT_PATIENCE
        while not self._answers():
            self._check_alive("while booting")
            if time.monotonic() > end:
                raise GuestError(f"Debian {self.release} has not booted within {BOOT_PATIENCE} s; "
                                 f"its processors: {self.monitor('info registers -a')}\n{self.console_tail()}")
        state = self.run("systemctl is-system-running --wait", rc=None, timeout=max(10, end - time.monotonic())).stdout.strip()
        if state != "running":
            failed = self.run("systemctl --no-legend --plain --failed; systemctl list-jobs --no-legend", rc=None).stdout
            raise GuestError(f"Debian {self.release} has booted, but its state is {state!r}:\n{failed}")

    def _answers(self):
        """Whether an ssh server answers. qemu accepts for it at once, so only its greeting counts."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as s:
                s.settimeout(2)
                if s.recv(4) == b"SSH-":
                    return True
        except OSError:
            pass
        with contextlib.suppress(subprocess.TimeoutExpired, AttributeError):
            self.process.wait(0.2)  # not a second connection at once; an end of qemu wakes it
        return False

    def running(self):
        if self.process:
            return self.process.poll() is None
        try:
            return b"qemu-system" in Path(f"/proc/{self.pid}/cmdline").read_bytes()
        except OSError:
            return False

    def _check_alive(self, when):
        if not self.running():
            log = (self.folder / "qemu.log").read_text(errors="replace")
            raise GuestError(f"the Debian {self.release} guest ended {when}: {log}\n{self.console_tail()}")

    def _wait_off(self, timeout):
        end = time.monotonic() + timeout
        while self.running():
            if time.monotonic() > end:
                raise GuestError(f"Debian {self.release} has not gone down within {timeout} s\n{self.console_tail()}")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.1) if self.process else time.sleep(0.1)

    def poweroff(self, timeout=BOOT_PATIENCE):
        """An orderly shutdown of the guest, to its end."""
        self._end_ssh_after("systemctl poweroff")
        self._wait_off(timeout)

    def reboot(self, timeout=BOOT_PATIENCE):
        """An orderly reboot, until all is up again."""
        self._end_ssh_after("systemctl reboot")
        self._wait_off(timeout)
        return self.boot()

    def power_cut(self):
        """The machine goes dark at once, and comes back. What was not synced to the disk may be lost to the guest."""
        self._kill()
        return self.boot()

    def _kill(self):
        self._end_ssh()
        if self.pid and self.running():
            os.kill(self.pid, signal.SIGKILL)
            self._wait_off(10)

    def stop(self):
        """Ends qemu, however it is; what the guest has written goes too if its folder is temporary."""
        self._kill()
        if self.temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    # --- inside

    def _ssh_options(self):
        return ["-F", "none", "-i", self.folder / "id_ed25519", "-o", f"Port={self.port}", "-o", "HostKeyAlias=guest",
                "-o", f"UserKnownHostsFile={self.folder / 'known_hosts'}", "-o", "StrictHostKeyChecking=yes",
                "-o", "BatchMode=yes", "-o", "ConnectTimeout=60", "-o", "LogLevel=ERROR", "-o", "ServerAliveInterval=30",
                "-o", "ServerAliveCountMax=10", "-o", "ControlMaster=auto", "-o", f"ControlPath={self.folder / 'ssh'}",
                "-o", "ControlPersist=yes"]

    def ssh_argv(self, command=None, tty=False):
        return ["ssh", *map(str, self._ssh_options()), *(["-t"] if tty else []), "root@127.0.0.1", *([command] if command else [])]

    def _end_ssh(self):
        if self.port and (self.folder / "ssh").exists():
            subprocess.run([*self.ssh_argv()[:-1], "-O", "exit", "root@127.0.0.1"], stderr=subprocess.DEVNULL, check=False)

    def _end_ssh_after(self, command):
        """For what takes the ssh server away: its answer does not count."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.run(command, rc=None, timeout=60)
        self._end_ssh()

    def run(self, command, rc=0, timeout=RUN_PATIENCE, input=None, output=None, alone=False):
        """Runs a command line of the shell (or a list of words) as root. stdout and stderr come back as text, or go, both,
        to the file `output`. `rc`: the exit status that must be, None for any. `alone`: over a connection, thus in a
        login session, of its own."""
        line = command if isinstance(command, str) else shlex.join(map(str, command))
        argv = self.ssh_argv(line)
        if alone:
            argv[1:1] = ["-o", "ControlMaster=no", "-o", "ControlPath=none"]
        streams = {"stdout": output, "stderr": subprocess.STDOUT} if output else {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        try:
            done = subprocess.run(argv, text=True, errors="replace", timeout=timeout, check=False, **streams,
                                  **({"stdin": subprocess.DEVNULL} if input is None else {"input": input}))
        except subprocess.TimeoutExpired as e:
            self._check_alive(f"during: {line}")
            said = "".join(s if isinstance(s, str) else s.decode(errors="replace") for s in (e.stdout, e.stderr) if s)
            raise GuestError(f"has not ended within {timeout:.0f} s: {line}\n{said}\n{self.console_tail()}") from None
        if done.returncode == 255 and rc is not None:
            self._check_alive(f"during: {line}")
        if rc is not None and done.returncode != rc:
            raise AssertionError(f"exit status {done.returncode}, not {rc}, of: {line}\n{done.stdout or ''}{done.stderr or ''}")
        return done

    def watch(self, command, log, deadline, silence):
        """Runs what takes long with all it says going to the file `log`, and returns its exit status. Raises after
        `deadline` seconds, or when it has said nothing for `silence` seconds, with its last words and what was running."""
        log = Path(log)
        end = time.monotonic() + deadline
        with open(log, "wb") as f:
            process = subprocess.Popen(self.ssh_argv(command), stdin=subprocess.DEVNULL, stdout=f, stderr=f)
        try:
            size, heard = 0, time.monotonic()
            while process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(1)
                now = time.monotonic()
                if log.stat().st_size != size:
                    size, heard = log.stat().st_size, now
                if now > end or now - heard > silence:
                    raise GuestError(self._hung(command, log, f"has not ended within {deadline} s" if now > end else
                                                f"has said nothing for {silence} s"))
        finally:
            process.kill()
            process.wait()
        if process.returncode == 255:  # ssh's own
            self._check_alive(f"during: {command}")
            raise GuestError(self._hung(command, log, "has lost its connection"))
        return process.returncode

    def _hung(self, command, log, how):
        self._check_alive(f"during: {command}")
        last = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        try:
            running = self.run("ps -eo pid,ppid,stat,wchan:20,etimes,args --forest | grep -v '\\[.*\\]$'", rc=None, timeout=60, alone=True).stdout
        except (GuestError, subprocess.SubprocessError):
            running = f"it answers no more; its processors: {self.monitor('info registers -a')}"
        return f"{how}: {command}\n--- its last words ({log}):\n{last}\n--- what runs:\n{running}\n{self.console_tail()}"

    def put(self, source, target):
        """A file or folder of this machine to the path `target` in the guest, which becomes it; folders above are made."""
        source = Path(source)
        make = f"mkdir -p {shlex.quote(str(Path(target).parent))} && "
        if not source.is_dir():
            mode = "755" if os.access(source, os.X_OK) else "644"
            with open(source, "rb") as f:
                self._pipe(make + f"cat >{shlex.quote(str(target))} && chmod {mode} {shlex.quote(str(target))}", stdin=f)
            return
        self.put_tree(source, ["."], target)

    def put_tree(self, base, names, target):
        """These files and folders below `base` to below the folder `target`, owned by root."""
        quoted = shlex.quote(str(target))
        tar = subprocess.Popen(["tar", "-C", base, "--owner=0", "--group=0", "--exclude=__pycache__", "-c", *names], stdout=subprocess.PIPE)
        with tar:
            self._pipe(f"mkdir -p {quoted} && tar -C {quoted} -x", stdin=tar.stdout)
        assert tar.returncode == 0, f"tar of {names} below {base} failed"

    def get(self, source, target):
        """The file `source` of the guest to the path `target` here."""
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        with open(target, "wb") as f:
            self._pipe(f"cat {shlex.quote(str(source))}", stdout=f)

    def _pipe(self, command, timeout=RUN_PATIENCE, **streams):
        done = subprocess.run(self.ssh_argv(command), stderr=subprocess.PIPE, timeout=timeout, check=False,
                              **({"stdin": subprocess.DEVNULL} | streams))
        if done.returncode != 0:
            self._check_alive(f"during: {command}")
            raise AssertionError(f"{command}: {done.stderr.decode(errors='replace')}")

    def wait(self, command, why=None, timeout=RUN_PATIENCE):
        """Until the command succeeds inside; asked again and again there, so that an answer costs no connection."""
        loop = f"while ! ( {command} ) >/tmp/.wait 2>&1; do sleep 0.2; done"
        done = self.run(f"timeout {timeout} sh -c {shlex.quote(loop)}; rc=$?; cat /tmp/.wait; exit $rc", rc=None, timeout=timeout + 60)
        assert done.returncode == 0, f"waited {timeout} s in vain for {why or command}: {done.stdout}{done.stderr}"
        return done.stdout

    def journal(self, *args):
        """The guest's journal as text; args as for journalctl ("-u", "bulkhead")."""
        return self.run(["journalctl", "--no-pager", "-o", "short-monotonic", *args]).stdout

    def console_tail(self, lines=40):
        text = self.console_path.read_text(errors="replace") if self.console_path.exists() else ""
        return f"--- the last lines of its console ({self.console_path}):\n" + "\n".join(text.splitlines()[-lines:])

    def monitor(self, command):
        """What qemu's monitor says: where the processors of a guest are that no longer answers."""
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(5)
                s.connect(str(self.folder / "monitor"))
                s.sendall(command.encode() + b"\n")
                said = b""
                while said.count(b"(qemu)") < 2:
                    more = s.recv(65536)
                    if not more:
                        break
                    said += more
                return said.decode(errors="replace")
        except OSError as e:
            return f"qemu's monitor does not answer: {e}"

    # --- those that stay

    def _save(self):
        if self.stays:
            (self.folder / "guest.json").write_text(json.dumps({"pid": self.pid, "port": self.port}))

    @classmethod
    def found(cls, name):
        """The guest that `start` left running under that name."""
        folder = CACHE / "running" / name
        guest = cls(name.split("-")[0], folder, stays=True)
        try:
            saved = json.loads((folder / "guest.json").read_text())
        except FileNotFoundError:
            raise GuestError(f"no guest {name} was started: tests/vm/guest.py start {name}") from None
        guest.pid, guest.port = saved["pid"], saved["port"]
        if not guest.running():
            raise GuestError(f"the guest {name} is no longer running: tests/vm/guest.py stop {name}, then start it anew")
        return guest


# --- the command ------------------------------------------------------------------------------------------------------

def _arguments():
    parser = argparse.ArgumentParser(description="Starts, uses and ends Debian guests. NAME is 12 or 13, or like 12-mine.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, text in (("start", "boot a new one and leave it running"), ("shell", "log in"), ("reboot", "reboot it in order"),
                       ("power-cut", "switch it off and on"), ("console", "follow its console"), ("stop", "end it and drop its disk")):
        verbs.add_parser(verb, help=text).add_argument("name")
    run = verbs.add_parser("run", help="run a command line as root")
    run.add_argument("name")
    run.add_argument("command", nargs="+")
    for verb, text in (("put", "copy a file or folder into it"), ("get", "copy a file out of it")):
        copy = verbs.add_parser(verb, help=text)
        copy.add_argument("name")
        copy.add_argument("source")
        copy.add_argument("target")
    verbs.add_parser("list", help="those that are there")
    return parser.parse_args()


def _start(name):
    folder = CACHE / "running" / name
    if folder.exists():
        raise GuestError(f"there is a guest {name} already: tests/vm/guest.py stop {name}")
    guest = Guest(name.split("-")[0], folder, stays=True)
    try:
        guest.boot()
    except BaseException:
        print(guest.console_tail(), file=sys.stderr)
        guest.stop()
        shutil.rmtree(folder, ignore_errors=True)
        raise
    print(f"{name} is up: tests/vm/guest.py shell {name}")


def _stop(name):
    folder = CACHE / "running" / name
    with contextlib.suppress(GuestError):
        Guest.found(name).stop()
    shutil.rmtree(folder, ignore_errors=True)


def main():
    args = _arguments()
    if args.verb == "list":
        for folder in sorted((CACHE / "running").glob("*")):
            try:
                print(f"{folder.name}\tpid {Guest.found(folder.name).pid}")
            except GuestError as e:
                print(f"{folder.name}\t{e}")
        return 0
    if args.name.split("-")[0] not in RELEASES:
        raise GuestError(f"{args.name}: a name begins with {' or '.join(RELEASES)}")
    if args.verb == "start":
        _start(args.name)
        return 0
    if args.verb == "stop":
        _stop(args.name)
        return 0
    guest = Guest.found(args.name)
    if args.verb == "console":
        os.execvp("tail", ["tail", "-n", "100", "-f", str(guest.console_path)])
    if args.verb in ("shell", "run"):
        argv = guest.ssh_argv(" ".join(args.command) if args.verb == "run" else None, tty=args.verb == "shell")
        return subprocess.run(argv, check=False).returncode
    if args.verb in ("put", "get"):
        getattr(guest, args.verb)(args.source, args.target)
    else:
        getattr(guest, args.verb.replace("-", "_"))()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (GuestError, AssertionError) as e:
        sys.exit(f"guest: {e}")
