#!/usr/bin/python3
"""usage: threaded.py PORT LOG [MSEC]. A server of keep-alive connections, a thread each. It reads lines, works on each for MSEC
(50), notes in LOG that it did and answers the line in one write. "hang" is never answered; "half WORD" is answered in two
halves, MSEC apart. It knows no graceful end: a SIGTERM ends it as it is."""

import os
import socket
import sys
import threading
import time

port, log, work = int(sys.argv[1]), os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644), int(
    sys.argv[3] if len(sys.argv) > 3 else 50) / 1000


def serve(s):
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    rest = b""
    try:
        while True:
            while b"\n" not in rest:
                more = s.recv(4096)
                if not more:
                    return
                rest += more
            line, rest = rest.split(b"\n", 1)
            if line == b"hang":
                threading.Event().wait()
            time.sleep(work)
            os.write(log, line + b"\n")
            answer = b"did " + line + b"\n"
            if line.startswith(b"half "):
                s.sendall(answer[:4])
                time.sleep(work)
                answer = answer[4:]
            s.sendall(answer)
    except OSError:
        pass
    finally:
        s.close()


listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", port))
listener.listen(1024)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
