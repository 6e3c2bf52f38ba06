"""Completion in real shells on a terminal: what TAB makes of a line, with a daemon, without one, and with one that hangs."""

import os
import pty
import select
import shutil
import socket
import subprocess
import time

import pytest

from lib import BUILD, PATIENCE, SOURCE, helper, wait_for

FILES = SOURCE / "tools/completion"


class Shell:
    """An interactive shell without anybody's own settings. ^X^P writes the line that is being edited to a file."""

    def __init__(self, name, directory):
        if not shutil.which(name):
            pytest.skip(f"{name} is not installed (tools/setup)")
        self.name = name
        self.line_file = directory / "line"
        self.screen = b""
        rc = directory / "rc"
        rc.write_text({"bash": f"""
            PS1='> '; bind 'set bell-style none'; bind 'set show-all-if-ambiguous on'; bind 'set completion-query-items 0'
            bind 'set page-completions off'; bind 'set enable-bracketed-paste off'
            show() {{ printf '%s' "$READLINE_LINE" >{self.line_file}.new; mv {self.line_file}.new {self.line_file}; }}
            bind -x '"\\C-x\\C-p": show'
            source {FILES}/bulkhead.bash
            """, "zsh": f"""
            PS1='> '; setopt nobeep
            # compinit looks into each function there is, a thousand of them: a minute in a guest. These few are enough.
            base=(${{^fpath}}/_describe(N:h))
            mkdir functions && ln -s $^base/_* ${{^fpath}}/{{_files,_directories,_path_files}}(N) functions 2>/dev/null
            fpath=({FILES} $PWD/functions ${{^fpath}}/compinit(N:h)); autoload -Uz compinit; compinit -u -D
            LISTMAX=1000; zstyle ':completion:*' list-prompt ''
            show() {{ printf '%s' "$BUFFER" >{self.line_file}.new; mv {self.line_file}.new {self.line_file}; }}
            zle -N show; bindkey '^X^P' show
            """}[name])
        argv = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}[name]
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(PATH=f"{BUILD}:{os.environ['PATH']}", TERM="dumb", HOME=str(directory), LC_ALL="C.UTF-8",
                              ASAN_OPTIONS="detect_leaks=0")
            os.environ.pop("BULKHEAD_INSTANCE", None)
            os.chdir(directory)
            os.execvp(argv[0], argv)
        self.type(f". {rc}; echo re''ady\r")
        self.see("ready")

    def read(self):
        while select.select([self.fd], [], [], 0)[0]:
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                break
            self.screen += data
        return self.screen.decode(errors="replace")

    def see(self, text):
        wait_for(lambda: text in self.read(), lambda: f"{text!r} on the screen:\n{self.screen.decode(errors='replace')}")
        return self.read()

    def type(self, text):
        os.write(self.fd, text.encode())

    def complete(self, text):
        """What TAB makes of the line; what it showed is in .shown."""
        self.line_file.unlink(missing_ok=True)
        before = len(self.read())
        self.type(text + "\t\x18\x10")
        wait_for(self.line_file.exists, lambda: f"the line of {text!r}; the screen has\n{self.read()}")
        self.shown = self.read()[before:]
        self.type("\x15")  # kill the line
        return self.line_file.read_text()

    def close(self):
        os.close(self.fd)
        end = time.monotonic() + PATIENCE
        while os.waitpid(self.pid, os.WNOHANG)[0] == 0:  # the hang-up ends it
            assert time.monotonic() < end, "the shell does not end"
            select.select([], [], [], 0.02)


@pytest.fixture(params=["bash", "zsh"])
def shell(request, tmp_path):
    s = Shell(request.param, tmp_path)
    yield s
    s.close()


def candidates(*words, env=None):
    done = subprocess.run([str(BUILD / "bulkhead"), "--complete", *words], capture_output=True, text=True, timeout=PATIENCE,
                          env={k: v for k, v in os.environ.items() if k != "BULKHEAD_INSTANCE"} | (env or {}))
    assert done.returncode == 0 and done.stderr == "", done
    return [line.split("\t")[0] for line in done.stdout.splitlines()]


def test_verbs_and_options(shell):
    assert shell.complete("bulkhead stat") == "bulkhead status "
    assert shell.complete("bulkhead stop --casc") == "bulkhead stop --cascade "
    assert shell.complete("bulkhead status --casc") == "bulkhead status --casc", "an option of other verbs"
    assert shell.complete("bulkhead kill -s HU") == "bulkhead kill -s HUP "
    assert shell.complete("bulkhead kill --signal=HU") == "bulkhead kill --signal=HUP "
    assert shell.complete("bulkhead nonsense x") == "bulkhead nonsense x"
    shell.complete("bulkhead s")
    shell.see("shutdown")
    assert "start" in shell.shown + shell.read() and "restart" not in shell.shown


def test_names_of_modules_and_instances(daemon, shell):
    d = daemon({n: {"module.exec": f"{helper('probe')} {n}", "module.start": "manual"} for n in ("web-front", "web-back", "db")})
    i = f"bulkhead --instance {d.instance}"
    assert shell.complete(f"{i} stop d") == f"{i} stop db "
    assert shell.complete(f"{i} stop web-f") == f"{i} stop web-front "
    assert shell.complete(f"{i} stop db d") == f"{i} stop db d", "a module is named once"
    assert shell.complete(f"{i} logs -n 5 d") == f"{i} logs -n 5 db "
    assert shell.complete(f"bulkhead status d --instance={d.instance[:-1]}").startswith(f"bulkhead status d --instance={d.instance}")
    assert shell.complete(f"bulkhead --instance={d.instance} stop web-b") == f"bulkhead --instance={d.instance} stop web-back "
    assert shell.complete(f"{i} stop we") == f"{i} stop web-"
    shell.see("web-front")
    shell.see("web-back")
    d.stop()
    assert shell.complete(f"{i} stop d") == f"{i} stop d", "nothing bad without a daemon"
    assert "rror" not in shell.shown and "no daemon" not in shell.shown


def test_directories_and_files(shell, tmp_path):
    (tmp_path / "policy-of-web").mkdir()
    (tmp_path / "picture.svg").write_text("")
    assert shell.complete("bulkhead check pol") == "bulkhead check policy-of-web/"
    if shell.name == "bash":  # zsh offers files where no directory fits, with every command
        assert shell.complete("bulkhead check pic") == "bulkhead check pic", "a file is no directory"
    assert shell.complete("bulkhead plan --config=pol") == "bulkhead plan --config=policy-of-web/"
    assert shell.complete("bulkhead graph --svg pic") == "bulkhead graph --svg picture.svg "


def test_the_daemon_itself(shell, tmp_path):
    (tmp_path / "policy-of-web").mkdir()
    assert shell.complete("bulkheadd --inst") == "bulkheadd --instance "
    assert shell.complete("bulkheadd --config pol") == "bulkheadd --config policy-of-web/"


def test_what_is_offered(daemon):
    d = daemon({n: {"module.exec": f"{helper('probe')} {n}"} for n in ("b", "a")})
    assert candidates("--instance", d.instance, "stop", "") == ["a", "b"]
    assert candidates("stop", "", env={"BULKHEAD_INSTANCE": d.instance}) == ["a", "b"]
    assert d.instance in candidates("--instance", "")
    assert candidates("-i", "../../tmp", "stop", "") == []
    assert candidates("-i", "nobody-runs-this", "stop", "") == []
    d.stop()
    assert d.instance not in candidates("--instance", "")


def test_a_daemon_that_hangs(tmp_path):
    """It takes the connection and says nothing: whoever types is not kept waiting."""
    instance = f"hang{os.getpid()}"
    directory = f"/run/bulkhead/{instance}"
    os.makedirs(directory)
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(f"{directory}/bus")
            s.listen()
            begun = time.monotonic()
            assert candidates("-i", instance, "stop", "") == []
            assert 1.9 < time.monotonic() - begun < PATIENCE / 2
    finally:
        shutil.rmtree(directory)
        if not os.listdir("/run/bulkhead"):
            os.rmdir("/run/bulkhead")
