#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""examples/scale-out/slurm: domains as jobs of a Slurm of its own, one slurmctld and two slurmd, each in a network
namespace of its own: start, exit status and reason, cancel = graceful shutdown, node loss = requeue."""
import ctypes
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import stage

stage.skip_if_sanitized()
for program in "slurmctld", "slurmd", "sbatch", "ip":
    if not shutil.which(program):
        print(f"skipped: {program} is missing; install slurm-wlm and iproute2")
        sys.exit(77)
if os.getuid():
    print("skipped: slurmd starts jobs as their users, and for that it is root")
    sys.exit(77)

JOB = stage.SOURCE / "examples/scale-out/slurm/pvvirt-job"
CONF = """ClusterName=pvvirt-test
SlurmctldHost=localhost(10.77.0.1)
AuthType=auth/none
CredType=cred/none
# A lost job is started again when its credentials have expired.
AuthInfo=cred_expire=5
SlurmUser=root
SlurmdUser=root
StateSaveLocation={dir}/state
SlurmdSpoolDir={dir}/spool-%n
SlurmctldPidFile={dir}/slurmctld.pid
SlurmdPidFile={dir}/slurmd-%n.pid
SlurmctldLogFile={dir}/slurmctld.log
SlurmdLogFile={dir}/slurmd-%n.log
# Signals go to all processes of a job, as with cgroups, not only to its process group.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SchedulerType=sched/builtin
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
MailProg=/bin/true
MpiDefault=none
ReturnToService=1
SlurmdTimeout=5
KillWait=20
JobRequeue=1
NodeName=n1 NodeHostname=localhost NodeAddr=10.77.1.2 CPUs=8
NodeName=n2 NodeHostname=localhost NodeAddr=10.77.2.2 CPUs=8
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


def ip(*words, inside=None):
    """ip(8), here or in the namespace of a process."""
    where = ["nsenter", f"--net=/proc/{inside}/ns/net"] if inside else []
    subprocess.run([*where, "ip", *words], check=True)


def own_network():
    """This process and what it starts leave the host's network: nothing of it is seen, and no port can be taken."""
    if ctypes.CDLL(None, use_errno=True).unshare(0x40000000):  # CLONE_NEWNET
        print("skipped: no network namespace can be made here:", os.strerror(ctypes.get_errno()))
        sys.exit(77)
    ip("link", "set", "lo", "up")
    ip("addr", "add", "10.77.0.1/32", "dev", "lo")  # the controller's address


class Slurm(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        tmp = tempfile.TemporaryDirectory(prefix="pvv-slurm-")
        cls.addClassCleanup(tmp.cleanup)
        cls.dir = pathlib.Path(tmp.name)
        for d in "state", "spool-n1", "spool-n2":
            (cls.dir / d).mkdir()
        conf = cls.dir / "slurm.conf"
        conf.write_text(CONF.format(dir=cls.dir))
        cls.env = dict(os.environ, SLURM_CONF=str(conf), PVVIRT=os.environ["PVV_PVVIRT"])
        cls.daemons = {}
        cls.addClassCleanup(cls.end)
        cls.daemon("slurmctld", "slurmctld", "-D", "-c")
        cls.holders = {}
        for number, node in enumerate(("n1", "n2"), 1):
            cls.connect(number, node)
            cls.slurmd(node)
        cls.wait_until(lambda: cls.run_it("sinfo", "-h", "-N", "-o", "%T").split() == ["idle", "idle"])

    @classmethod
    def connect(cls, number, node):
        """A network namespace, which a process holds, with a cable to the controller's."""
        holder = cls.holders[node] = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep 600"], stdout=subprocess.PIPE)
        cls.addClassCleanup(lambda: (holder.kill(), holder.wait(), holder.stdout.close()))
        holder.stdout.readline()  # it is there
        ip("link", "add", node, "type", "veth", "peer", "name", "up0", "netns", str(holder.pid))
        ip("addr", "add", f"10.77.{number}.1/30", "dev", node)
        ip("link", "set", node, "up")
        ip("link", "set", "lo", "up", inside=holder.pid)
        ip("addr", "add", f"10.77.{number}.2/30", "dev", "up0", inside=holder.pid)
        cls.plug(number, node)

    @classmethod
    def plug(cls, number, node):
        ip("link", "set", "up0", "up", inside=cls.holders[node].pid)
        ip("route", "add", "default", "via", f"10.77.{number}.1", inside=cls.holders[node].pid)

    @classmethod
    def slurmd(cls, node):
        cls.daemon(node, "nsenter", f"--net=/proc/{cls.holders[node].pid}/ns/net", "slurmd", "-D", "-N", node)

    @classmethod
    def daemon(cls, name, *cmd):
        with open(cls.dir / f"{name}.err", "wb") as err:
            cls.daemons[name] = subprocess.Popen(cmd, env=cls.env, stdin=subprocess.DEVNULL, stdout=err, stderr=err,
                                                 start_new_session=True)

    @classmethod
    def end(cls):
        for job in cls.run_it("squeue", "-h", "-o", "%i").split():
            cls.run_it("scancel", job)
        end = time.monotonic() + 30
        while cls.ours() and time.monotonic() < end:
            time.sleep(0.2)
        for p in cls.daemons.values():
            p.terminate()
            try:
                p.wait(20)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        for pid in cls.ours():
            os.kill(pid, signal.SIGKILL)

    @classmethod
    def ours(cls, job=None):
        """Processes of our jobs, by their environment: there may be another Slurm on this host."""
        out, mark = [], f"SLURM_CONF={cls.env['SLURM_CONF']}".encode()
        for p in pathlib.Path("/proc").iterdir():
            try:
                env = (p / "environ").read_bytes().split(b"\0") if p.name.isdigit() else []
                if mark in env and (p / "comm").read_text().strip() not in ("slurmctld", "slurmd", "python3") and \
                   int(p.name) != os.getpid() and any(e.startswith(b"SLURM_JOB_ID=") or e.startswith(b"SLURMD_NODENAME=")
                                                      or b"slurmstepd" in (p / "cmdline").read_bytes() for e in env):
                    if job is None or f"SLURM_JOB_ID={job}".encode() in env or \
                       f"[{job}.".encode() in (p / "cmdline").read_bytes():
                        out.append(int(p.name))
            except OSError:
                pass
        return out

    @classmethod
    def run_it(cls, *cmd):
        r = subprocess.run(cmd, env=cls.env, text=True, capture_output=True, timeout=30)
        return r.stdout.strip()

    @classmethod
    def wait_until(cls, condition, seconds=100, what=lambda: ""):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(what() + (cls.dir / "slurmctld.log").read_text()[-2000:])
            time.sleep(0.3)

    def submit(self, name, guest, *options, memory=64, more=""):
        xml = self.dir / f"{name}.xml"
        xml.write_text(stage.domain_xml(name, stage.GUESTS / f"{guest}.elf", memory=memory, more=more))
        self.out = self.dir / f"{name}.out"
        return self.run_it("sbatch", "--parsable", f"--job-name={name}", f"--output={self.out}", *options, str(JOB), str(xml))

    def job(self, number):
        words = self.run_it("scontrol", "show", "job", "--oneliner", number)
        out, key = {}, None
        for w in words.split(" "):
            if "=" in w:
                key, _, w = w.partition("=")
                out[key] = w
            elif key:
                out[key] += " " + w
        return out

    def wait_state(self, number, *states):
        self.wait_until(lambda: self.job(number)["JobState"] in states, what=lambda: str(self.job(number)))
        return self.job(number)

    def wait_output(self, text):
        self.wait_until(lambda: self.out.exists() and text in self.out.read_text())

    def test_exit_status_and_reason(self):
        off, crash, bad = self.submit("off", "hello"), self.submit("crash", "end-crash"), self.submit("bad", "no-such-guest")
        job = self.wait_state(off, "COMPLETED", "FAILED")
        self.assertEqual((job["JobState"], job["ExitCode"], job["Comment"].strip()), ("COMPLETED", "0:0", "powered off"))
        job = self.wait_state(crash, "COMPLETED", "FAILED")
        self.assertEqual((job["JobState"], job["ExitCode"]), ("FAILED", "10:0"))
        self.assertIn("the guest reported a crash", job["Comment"])
        job = self.wait_state(bad, "COMPLETED", "FAILED")
        self.assertEqual((job["JobState"], job["ExitCode"]), ("FAILED", "1:0"))
        self.assertIn("no-such-guest.elf", job["Comment"])

    def test_cancel_is_a_graceful_shutdown(self):
        job = self.submit("cancelled", "service")
        self.wait_output("service ready")
        self.run_it("scancel", job)
        self.wait_output("powering off")  # says the guest
        self.wait_state(job, "CANCELLED")
        self.wait_until(lambda: not self.ours(job))

    def test_node_loss_is_a_requeue(self):
        job = self.submit("lost", "service")
        self.wait_output("service ready")
        node = self.job(job)["NodeList"]
        # The node is gone: its network, its slurmd, and everything of the job there.
        ip("link", "set", "up0", "down", inside=self.holders[node].pid)
        self.daemons[node].kill()
        self.daemons[node].wait()
        for pid in self.ours(job):
            os.kill(pid, signal.SIGKILL)
        self.wait_until(lambda: self.job(job)["JobState"] == "RUNNING" and self.job(job)["NodeList"] != node,
                        what=lambda: str(self.job(job)))
        self.assertEqual(self.job(job)["Restarts"], "1")
        self.wait_until(lambda: self.out.read_text().count("service ready") == 2)
        # The node comes back, and takes jobs again.
        self.plug(int(node[1]), node)
        self.slurmd(node)
        self.wait_until(lambda: self.run_it("sinfo", "-h", "-n", node, "-o", "%T") in ("idle", "mixed"))
        self.run_it("scancel", job)
        self.wait_output("powering off")


if __name__ == "__main__":
    own_network()
    unittest.main(verbosity=2)
