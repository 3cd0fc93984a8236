"""The proxies that are compared, how each is set up, and the stage on which they stand: one thread each, connections kept on
both sides, no access log, room enough for all that any workload asks. rondel runs with its defaults."""
import os
import re
import shutil
import socket
import subprocess
import time

from .machine import LOAD_CORE, PROXY_CORE, fail

# In the order in which they are shown.
NAMES = {"rondel": "rondel", "haproxy": "HAProxy", "nginx": "nginx", "floor": "floor"}


def haproxy(folder, port, backends, descriptors):
    servers = "\n".join(f"  server s{nth} {backend}" for nth, backend in enumerate(backends))
    path = folder / "haproxy.cfg"
    # By default it closes connections to backends once a quarter of its descriptors is in use.
    path.write_text(f"""global
  nbthread 1
  maxconn {min(9800, descriptors // 2 - 200)}
  tune.pool-low-fd-ratio 95
  tune.pool-high-fd-ratio 98
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout tunnel 60s
  option http-keep-alive
  http-reuse always
listen l
  bind 127.0.0.1:{port}
  balance roundrobin
{servers}
""")
    return ["haproxy", "-f", path, "-db"]


def nginx(folder, port, backends, descriptors):
    servers = " ".join(f"server {backend};" for backend in backends)
    path = folder / "nginx.conf"
    path.write_text(f"""daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx-error.log error;
worker_rlimit_nofile {descriptors};
events {{ worker_connections {min(19900, descriptors - 100)}; multi_accept on; }}
http {{
  access_log off; tcp_nodelay on; keepalive_timeout 300s; keepalive_requests 1000000000; client_max_body_size 0;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  map $http_upgrade $connection_field {{ default upgrade; '' ''; }}
  upstream backends {{ {servers} keepalive 9000; keepalive_requests 1000000000; keepalive_timeout 300s; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://backends; proxy_http_version 1.1; proxy_set_header Host $host;
      proxy_set_header Connection $connection_field; proxy_set_header Upgrade $http_upgrade;
      proxy_request_buffering off; proxy_max_temp_file_size 0;
      proxy_buffer_size 16k; proxy_buffers 8 32k; proxy_busy_buffers_size 64k;
    }}
  }}
}}
""")
    return ["nginx", "-c", path, "-e", f"{folder}/nginx-error.log"]


class Stage:
    """Backends, and proxies in front of them, for as long as the `with` block runs.

    `peers` tells of each proxy by its name: its process and its port; `start_seconds` how long it took from the decision to
    start it to its first answer.
    """

    def __init__(self, lab, names, backends=4, floor="l7"):
        self.lab, self.names, self.floor = lab, names, floor
        self.peers, self.start_seconds = {}, {}
        self.ports = free_ports(backends + len(names))
        self.backends = [f"127.0.0.1:{port}" for port in self.ports[len(names):]]
        self.children = []

    def __enter__(self):
        self.start([self.lab.programs["backend"], *self.backends], LOAD_CORE, "backend", self.ports[-1])
        for name, port in zip(self.names, self.ports):
            began = time.perf_counter()
            self.peers[name] = self.start(self.command(name, port), PROXY_CORE, name, port), port
            self.start_seconds[name] = time.perf_counter() - began
        return self

    def __exit__(self, *_):
        # The proxies first, so that none sees its backends die.
        for child in reversed(self.children):
            self.lab.processes.stop(child)

    def command(self, name, port):
        listen = f"127.0.0.1:{port}"
        if name == "floor":
            return [self.lab.programs["floor"], self.floor, listen, *self.backends]
        if name == "rondel":
            flags = [part for backend in self.backends for part in ("--backend", backend)]
            return [self.lab.programs["rondel"], "--listen", listen, *flags]
        maker = {"haproxy": haproxy, "nginx": nginx}[name]
        return maker(self.lab.folder, port, self.backends, self.lab.descriptors)

    def start(self, argv, core, name, port):
        child = self.lab.processes.start(argv, core, name)
        self.children.append(child)
        until = time.monotonic() + 10
        while not answers(port):
            if child.poll() is not None or time.monotonic() > until:
                fail(f"{name} does not answer on port {port}:\n{self.lab.processes.log(name).read_text()}")
            time.sleep(0.002)
        return child


def free_ports(count):
    """Ports that were free a moment ago; no two are the same."""
    sockets = [socket.socket() for _ in range(count)]
    for sock in sockets:
        sock.bind(("127.0.0.1", 0))
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


def answers(port):
    try:
        # A floor of layer 4 does not look into requests, so that this goes through any.
        with socket.create_connection(("127.0.0.1", port), 1) as sock:
            sock.settimeout(2)
            sock.sendall(b"GET /b/2 HTTP/1.1\r\nHost: a\r\n\r\n")
            return sock.recv(100).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def version(name, program):
    """What a peer says of itself, with Debian's revision, without the rest."""
    if name == "floor":
        return ""
    flag = "--version" if name == "rondel" else "-v"
    done = subprocess.run([program, flag], capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+[^\s,)]*", done.stdout + done.stderr)
    return f"{NAMES.get(name, name)} {found[0]}" if found else name


def binary_bytes(program):
    return os.path.getsize(shutil.which(program) or program)
