"""What tools/demo puts on: the examples with drop-ins of the demo's own, and the troublemakers beside them, all below one
directory in /tmp that everybody may read: the tree may be where nobody but root gets to."""

import os
import shutil
import socket
import tempfile
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1]
EXAMPLES = ("nginx", "redis", "worker")
MOUNT_FLAGS = 6  # MS_NOSUID | MS_NODEV
MIB = 1 << 20

HOG = """import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
os.write(3, b"\\n")                            # ready
signal.sigwait([signal.SIGUSR1])               # until somebody wants to see it
taken = []
while True:
    taken.append(bytearray(b"x") * (1 << 20))  # a megabyte more, and touched
"""

MOUNTER = f"""import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
result = libc.mount(b"none", b"/mnt", b"tmpfs", {MOUNT_FLAGS}, None)
print("mount returned", result, os.strerror(ctypes.get_errno()), flush=True)
"""

ALLOW_LINE = "[sandbox]\nallow = mount"  # what `explain` is to suggest


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Stage:
    """The demo's directory: configuration, programs and data."""

    def __init__(self):
        self.dir = Path(tempfile.mkdtemp(prefix=f"bulkhead-demo{os.getpid()}-"))
        os.chmod(self.dir, 0o755)
        self.config = self.dir / "config"
        self.web, self.redis = free_port(), free_port()

    def write(self, name, text, mode=0o644):
        path = self.dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        os.chmod(path, mode)
        return path

    def module(self, name, text):
        self.write(f"config/modules.d/{name}.ini", text.strip() + "\n")

    def drop_in(self, name, text):
        self.write(f"config/modules.d/{name}.ini.d/demo.ini", text.strip() + "\n")

    def examples(self):
        for name in EXAMPLES:
            self.write(f"config/modules.d/{name}.ini", (SOURCE / f"policies/examples/{name}.ini").read_bytes())
        self.write("worker.py", (SOURCE / "policies/examples/worker.py").read_bytes(), 0o755)
        conf = self.write("nginx.conf", f"""
user www-data; worker_processes 2; pid {self.dir}/nginx.pid; error_log stderr;
events {{ worker_connections 64; }}
http {{
    access_log off; client_body_temp_path {self.dir}/temp; proxy_temp_path {self.dir}/temp;
    fastcgi_temp_path {self.dir}/temp; uwsgi_temp_path {self.dir}/temp; scgi_temp_path {self.dir}/temp;
    server {{ listen 127.0.0.1:{self.web}; root {self.dir}/www; location /big {{ limit_rate 1m; }} }}
}}
""")
        # A container's root may not raise limits over those it inherited, nor make the host spare it: so none of that.
        self.drop_in("nginx", f"""
[module]
exec = /usr/sbin/nginx -e stderr -c {conf} -g 'daemon off;'
exec_start_pre = /usr/sbin/nginx -t -q -e stderr -c {conf}
ready = tcp:{self.web}
[limits]
nofile =
[work]
ports = {self.web}
""")
        (self.dir / "redis").mkdir()
        shutil.chown(self.dir / "redis", "redis", "redis")
        self.drop_in("redis", f"""
[module]
exec = /usr/bin/redis-server --bind 127.0.0.1 --port {self.redis} --dir {self.dir}/redis --save '' --daemonize no --supervised systemd --logfile ''
runtime_directory =
state_directory =
[limits]
nofile =
oom_score_adj =
[work]
ports = {self.redis}
""")
        self.drop_in("worker", f"""
[module]
exec = /usr/bin/python3 -u {self.dir}/worker.py
environment = REDIS=127.0.0.1:{self.redis}, QUEUE=jobs
""")

    def troublemakers(self):
        hog = self.write("hog.py", HOG)
        self.module("memory-hog", f"""
[module]
description = takes memory until it dies, when told to
exec = /usr/bin/python3 -S {hog}
ready = fd:3
[limits]
memory_max = 64M
memory_swap_max = 0
[sandbox]
profile = worker
user = nobody
[recovery]
restart = on-failure
backoff = 1s
""")
        self.module("cpu-hog", """
[module]
description = spins
exec = /bin/sh -c 'while :; do :; done'
start = manual
stop_timeout = 2s
[limits]
cpu_max = 20%
[sandbox]
profile = worker
user = nobody
""")
        mounter = self.write("mounter.py", MOUNTER)
        for name in ("mounter", "mounter-allowed"):
            self.module(name, f"""
[module]
description = calls mount(2), as root
exec = /usr/bin/python3 -S {mounter}
start = manual
[sandbox]
profile = worker
user = root
[recovery]
restart = no
""")
        self.drop_in("mounter-allowed", ALLOW_LINE)

    def content(self):
        self.write("www/index.html", "hello from behind a bulkhead\n")
        self.big = os.urandom(4 * MIB)
        self.write("www/big", self.big)

    def build(self):
        # Logs go to files also where there is a journal: they are removed with the rest.
        self.write("config/bulkhead.ini", "[supervisor]\nstartup_timeout = 30s\n\n[defaults]\nmodule.log = file\n")
        self.examples()
        self.troublemakers()
        self.content()
