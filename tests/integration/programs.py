"""Real programs as tests run them: a configuration of the test's own for each, below its daemon's directory, and how to ask
them something. What a Debian release puts elsewhere than another (versions in paths) is found here."""

import glob
import shutil
import socket
import subprocess
import tempfile
import urllib.request
from pathlib import Path

from lib import PATIENCE

NGINX, REDIS, MOSQUITTO, HAPROXY = "/usr/sbin/nginx", "/usr/bin/redis-server", "/usr/sbin/mosquitto", "/usr/sbin/haproxy"
NODE, PYTHON, GUNICORN, UVICORN = "/usr/bin/node", "/usr/bin/python3", "/usr/bin/gunicorn", "/usr/bin/uvicorn"


def newest(pattern):
    """The last match, or the pattern itself where there is none, for whoever says what is missing."""
    return max(glob.glob(pattern), default=pattern)


PHP_FPM = newest("/usr/sbin/php-fpm[0-9]*")
POSTGRES = newest("/usr/lib/postgresql/*/bin/postgres")


def run(*argv, **options):
    return subprocess.run([str(a) for a in argv], check=True, capture_output=True, text=True, timeout=PATIENCE, **options).stdout


def nginx_conf(d, server, name="nginx"):
    """nginx with one server block, its temporary files and its pid in the test's scratch."""
    conf = d.dir / f"{name}.conf"
    conf.write_text(f"""
user www-data; worker_processes 2; pid {d.scratch}/{name}.pid; error_log stderr;
events {{ worker_connections 64; }}
http {{
    access_log off; client_body_temp_path {d.scratch}/t; proxy_temp_path {d.scratch}/t; fastcgi_temp_path {d.scratch}/t;
    uwsgi_temp_path {d.scratch}/t; scgi_temp_path {d.scratch}/t;
    server {{
        listen 127.0.0.1:{d.port()};
        {server}
    }}
}}
""")
    return conf


def www(d):
    folder = d.scratch / "www"
    folder.mkdir(exist_ok=True)
    (folder / "index.html").write_text("hello\n")
    return folder


def get(port, path="/"):
    return urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE).read()


def php_fpm_conf(d, path):
    """A pool of two as www-data, listening on the unix socket `path`."""
    conf = d.dir / "php-fpm.conf"
    conf.write_text(f"""[global]
error_log = /proc/self/fd/2
[www]
user = www-data
group = www-data
listen = {path}
listen.owner = www-data
listen.group = www-data
pm = static
pm.max_children = 2
catch_workers_output = yes
""")
    return conf


def haproxy_conf(d, backend):
    """In front of a server on port `backend`, its workers as haproxy in an empty chroot."""
    empty = d.scratch / "empty"
    empty.mkdir(exist_ok=True)
    conf = d.dir / "haproxy.cfg"
    conf.write_text(f"""
global
    user haproxy
    group haproxy
    chroot {empty}
    maxconn 64
defaults
    mode http
    retries 0
    timeout connect 10s
    timeout client 30s
    timeout server 30s
frontend f
    bind 127.0.0.1:{d.port()}
    default_backend b
backend b
    server s 127.0.0.1:{backend}
""")
    return conf


def mosquitto_conf(d):
    data = d.scratch / "mosquitto"
    data.mkdir()
    shutil.chown(data, "mosquitto", "mosquitto")
    conf = d.dir / "mosquitto.conf"
    conf.write_text(f"listener {d.port()} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {data}/\nlog_dest stderr\n")
    return conf


_template = []


def postgres_data(d):
    """A cluster of the test's own, in which postgres is trusted, with its socket beside it. Made once: initdb takes seconds."""
    if not _template:
        folder = Path(tempfile.mkdtemp(prefix="bulkhead-postgres-"))
        shutil.chown(folder, "postgres", "postgres")
        run("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", Path(POSTGRES).with_name("initdb"), "--no-sync", "--auth=trust",
            "--username=postgres", "--no-locale", "--encoding=UTF8", "-D", folder / "data", cwd="/")
        _template.append(folder)
    data = d.scratch / "postgres"
    run("cp", "-a", _template[0] / "data", data)
    with open(data / "postgresql.conf", "a") as f:
        f.write(f"listen_addresses = '127.0.0.1'\nport = {d.port()}\nunix_socket_directories = '{data}'\nshared_buffers = 16MB\nfsync = off\n")
    return data


def forget_templates():
    while _template:
        shutil.rmtree(_template.pop())


def query(port, sql):
    return run("psql", "-h", "127.0.0.1", "-p", port, "-U", "postgres", "-At", "-c", sql, cwd="/").strip()


NODE_SERVER = """
const http = require('http');
const server = http.createServer((request, response) => {
    if (request.url === '/slow') setTimeout(() => response.end('slow\\n'), 1000);
    else response.end('hello\\n');
});
server.listen(Number(process.env.PORT || process.argv[2]), '127.0.0.1');
process.on('SIGTERM', () => { server.close(() => process.exit(0)); server.closeIdleConnections?.(); });
"""

WSGI_APP = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello\\n"]
"""

ASGI_APP = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"hello\\n"})
"""


def say(port, *words):
    """A command to redis, and the first 4 KiB of what it answers."""
    with socket.create_connection(("127.0.0.1", port), 10) as s:
        s.sendall(f"*{len(words)}\r\n".encode() + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
        return s.recv(4096)
