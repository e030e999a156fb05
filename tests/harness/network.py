"""Hosts in one machine: network namespaces, joined by a bridge in a namespace of its own. Needs root and iproute2.

Nothing of it is visible outside: addresses are the namespaces' own. A host's processes get its host name, and die with
the process that started them. Links are cut as a switch would cut them: packets go nowhere, and nobody is told.
"""

import json
import os
import shutil
import signal
import subprocess

from harness.servers import run_checked


def why_not():
    """Why there can be no namespaces here; None if there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not shutil.which("ip") or not shutil.which("unshare"):
        return "iproute2 or util-linux is not installed: deploy/install-deps --test"
    probe = f"gw{os.getpid()}-probe"
    p = subprocess.run(["ip", "netns", "add", probe], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if p.returncode:
        return f"no network namespaces here: {p.stdout.strip()}"
    try:
        p = subprocess.run(["ip", "-n", probe, "link", "add", "br0", "type", "bridge"], stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True)
        return f"no bridges here: {p.stdout.strip()}" if p.returncode else None
    finally:
        subprocess.run(["ip", "netns", "del", probe])


class Host:
    def __init__(self, network, name, number):
        self.network, self.name = network, name
        self.namespace = f"{network.prefix}-{name}"
        self.address = f"10.77.0.{number}"
        self.lladdr = f"02:00:00:4d:00:{number:02x}"
        self.port = f"p-{name}"
        self.processes = []

    def command(self, argv):
        """argv, to be run on this host. The process is the one that is started: every step becomes the next."""
        return ["ip", "netns", "exec", self.namespace, "unshare", "--uts", "--", "sh", "-c",
                f'hostname {self.name} && exec "$@"', "sh", *map(str, argv)]

    def start(self, argv, log, env=None):
        with open(log, "ab") as out:
            p = subprocess.Popen(self.command(["setpriv", "--pdeathsig", "KILL", *argv]), stdin=subprocess.DEVNULL,
                                 stdout=out, stderr=out, env=env, start_new_session=True)
        p.log = log
        self.processes.append(p)
        return p

    def make(self):
        ip = self.network.ip
        run_checked(["ip", "netns", "add", self.namespace])
        ip(self, "link", "set", "lo", "up")
        ip(self, "link", "add", "eth0", "address", self.lladdr, "type", "veth", "peer", "name", self.port, "netns",
           self.network.switch)
        ip(self, "address", "add", f"{self.address}/24", "dev", "eth0")
        ip(self, "link", "set", "eth0", "up")
        self.network.ip(None, "link", "set", self.port, "up")
        self.join()

    def join(self):
        self.network.ip(None, "link", "set", self.port, "master", "br0")

    def cut(self):
        """No packet comes or goes any more; the host itself sees nothing of it."""
        self.network.ip(None, "link", "set", self.port, "nomaster")

    def stop(self, sig=signal.SIGTERM):
        for p in self.processes:
            if p.poll() is None:
                p.send_signal(sig)
        for p in self.processes:
            try:
                p.wait(15)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        self.processes.clear()

    def lose_power(self):
        """The host is gone, and nobody is told: no connection is closed."""
        self.cut()
        self.stop(signal.SIGKILL)

    def sent_bytes(self):
        p = run_checked(["ip", "-n", self.namespace, "-s", "-j", "link", "show", "eth0"])
        return json.loads(p)[0]["stats64"]["tx"]["bytes"]


class Network:
    def __init__(self, *names):
        self.prefix = f"gw{os.getpid()}"
        self.switch = f"{self.prefix}-switch"
        self.hosts = {name: Host(self, name, i) for i, name in enumerate(names, 11)}

    def __getitem__(self, name):
        return self.hosts[name]

    def ip(self, host, *args):
        run_checked(["ip", "-n", host.namespace if host else self.switch, *args])

    def make(self):
        run_checked(["ip", "netns", "add", self.switch])
        self.ip(None, "link", "add", "br0", "type", "bridge")
        self.ip(None, "link", "set", "br0", "up")
        for h in self.hosts.values():
            h.make()
        return self

    def cut_between(self, a, b):
        """a and b do not reach each other; everybody else reaches both. Their packets go to an address nobody has."""
        for x, y in ((a, b), (b, a)):
            self.ip(x, "neighbour", "replace", y.address, "lladdr", "02:00:00:00:00:01", "dev", "eth0", "nud", "permanent")

    def mend_between(self, a, b):
        for x, y in ((a, b), (b, a)):
            self.ip(x, "neighbour", "del", y.address, "dev", "eth0")

    def remove(self):
        for h in self.hosts.values():
            h.stop(signal.SIGKILL)
        for name in [h.namespace for h in self.hosts.values()] + [self.switch]:
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)
