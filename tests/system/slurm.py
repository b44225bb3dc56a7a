#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""examples/scale-out/slurm: domains as jobs of a Slurm of its own, one slurmctld and two slurmd on this host's
loopback: start, exit status and reason, cancel = graceful shutdown, node loss = requeue."""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import stage

stage.skip_if_sanitized()
for program in "slurmctld", "slurmd", "sbatch":
    if not shutil.which(program):
        print(f"skipped: {program} is missing; install slurm-wlm")
        sys.exit(77)
if os.getuid():
    print("skipped: slurmd starts jobs as their users, and for that it is root")
    sys.exit(77)

JOB = stage.SOURCE / "examples/scale-out/slurm/pvvirt-job"
CONF = """ClusterName=pvvirt-test
SlurmctldHost=localhost
SlurmctldPort={ports[0]}
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
NodeName=n1 NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[1]} CPUs=8
NodeName=n2 NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[2]} CPUs=8
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


def free_ports(n):
    socks = [socket.socket() for _ in range(n)]
    for s in socks:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in socks]
    for s in socks:
        s.close()
    return ports


class Slurm(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        tmp = tempfile.TemporaryDirectory(prefix="pvv-slurm-")
        cls.addClassCleanup(tmp.cleanup)
        cls.dir = pathlib.Path(tmp.name)
        for d in "state", "spool-n1", "spool-n2":
            (cls.dir / d).mkdir()
        conf = cls.dir / "slurm.conf"
        conf.write_text(CONF.format(dir=cls.dir, ports=free_ports(3)))
        cls.env = dict(os.environ, SLURM_CONF=str(conf), PVVIRT=os.environ["PVV_PVVIRT"])
        cls.daemons = {}
        cls.addClassCleanup(cls.end)
        cls.daemon("slurmctld", "slurmctld", "-D", "-c")
        for node in "n1", "n2":
            cls.daemon(node, "slurmd", "-D", "-N", node)
        cls.wait_until(lambda: cls.run_it("sinfo", "-h", "-N", "-o", "%T").split() == ["idle", "idle"])

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
        # The node is gone: its slurmd, and everything of the job there.
        self.daemons[node].kill()
        self.daemons[node].wait()
        for pid in self.ours(job):
            os.kill(pid, signal.SIGKILL)
        self.wait_until(lambda: self.job(job)["JobState"] == "RUNNING" and self.job(job)["NodeList"] != node,
                        what=lambda: str(self.job(job)))
        self.assertEqual(self.job(job)["Restarts"], "1")
        self.wait_until(lambda: self.out.read_text().count("service ready") == 2)
        # The node comes back, and takes jobs again.
        self.daemon(node, "slurmd", "-D", "-N", node)
        self.wait_until(lambda: self.run_it("sinfo", "-h", "-n", node, "-o", "%T") in ("idle", "mixed"))
        self.run_it("scancel", job)
        self.wait_output("powering off")


if __name__ == "__main__":
    unittest.main(verbosity=2)
