#!/usr/bin/python3
"""usage: threaded.py PORT LOG [MSEC [PEAK]]. A server of keep-alive connections, a thread each. It notes in LOG what it is asked for
as soon as it has read that, works on it for MSEC (50) and answers in one write. It is asked by a line:

    WORD                  "did WORD"; "hang" is neither noted nor ever answered; "half WORD" in two halves, MSEC apart
    GET /WORD HTTP/1.1    the same as HTTP; a client of HTTP/1.0 has its connection closed
    GET /stream/WORD …    256 KiB in pieces, MSEC apart
    POST /WORD HTTP/1.1   noted when it begins, worked on when all of it is here
    GET /WORD …           with "Upgrade: websocket": then each message is noted and sent back

PEAK, a file, tells the most that it was at at once. It knows no graceful end: a SIGTERM ends it as it is."""

import base64
import hashlib
import os
import socket
import sys
import threading
import time

port, log, work = int(sys.argv[1]), os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644), int(
    sys.argv[3] if len(sys.argv) > 3 else 50) / 1000
PEAK = sys.argv[4] if len(sys.argv) > 4 else None
PIECE, PIECES = b"x" * (16 << 10), 16
lock, at_work, peak = threading.Lock(), 0, 0


class Working:
    """From the moment that a request is read until its answer is about to be written."""

    def __enter__(self):
        global at_work, peak
        with lock:
            at_work += 1
            if at_work > peak and PEAK:
                peak = at_work
                with open(PEAK, "w") as f:
                    f.write(str(peak))

    def __exit__(self, *_):
        global at_work
        with lock:
            at_work -= 1


def note(word):
    os.write(log, word + b"\n")


def line(s, word):
    if word == b"hang":
        threading.Event().wait()
    note(word)
    with Working():
        time.sleep(work)
        answer = b"did " + word + b"\n"
        if word.startswith(b"half "):
            s.sendall(answer[:4])
            time.sleep(work)
            answer = answer[4:]
    s.sendall(answer)


def body(length):
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length


def echo(s, f):
    while True:
        head = f.read(2)
        if len(head) < 2 or head[0] != 0x81 or head[1] > 0x80 + 125:  # one short text, masked, as clients must
            return
        mask, text = f.read(4), f.read(head[1] & 127)
        text = bytes(c ^ mask[i % 4] for i, c in enumerate(text))
        note(text)
        with Working():
            time.sleep(work)
        s.sendall(bytes([0x81, len(text)]) + text)


def http(s, f, method, path, version):
    """Whether the connection stays."""
    head = {}
    while (said := f.readline().strip()):
        name, _, value = said.partition(b":")
        head[name.lower()] = value.strip()
    word = path.rpartition(b"/")[2]
    if head.get(b"upgrade", b"").lower() == b"websocket":
        key = base64.b64encode(hashlib.sha1(head[b"sec-websocket-key"] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        note(word)
        s.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + key + b"\r\n\r\n")
        echo(s, f)
        return False
    note(word)
    with Working():
        if path.startswith(b"/stream/"):
            s.sendall(body(len(PIECE) * PIECES))
            for _ in range(PIECES):
                time.sleep(work)
                s.sendall(PIECE)
            return version != b"HTTP/1.0"
        if method == b"POST" and len(f.read(int(head[b"content-length"]))) < int(head[b"content-length"]):
            return False
        time.sleep(work)
    answer = b"did " + word + b"\n"
    s.sendall(body(len(answer)) + answer)
    return version != b"HTTP/1.0"


def serve(s):
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        with s, s.makefile("rb") as f:
            while (asked := f.readline()).endswith(b"\n"):
                words = asked.split()
                if len(words) != 3 or words[0] not in (b"GET", b"POST"):
                    line(s, asked[:-1])
                elif not http(s, f, *words):
                    return
    except OSError:
        pass


threading.stack_size(256 << 10)
listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", port))
listener.listen(1024)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
