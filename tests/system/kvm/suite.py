#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The tests of the kvm executor, by name, in TAP (https://testanything.org).

    suite.py BUILDDIR GROUP

Groups: guests-N-M (the N-th of M parts of tests/guest), system and library (system.py, library.py), counts
(counts.py), linux (linux.py), hostile (hostile/: the monitor is taken over), and those of SAME. They run
on this host's own KVM if `pvvirt host` trusts it, else in a virtual machine under QEMU's TCG (vm.py), which needs no
hardware."""
import concurrent.futures
import os
import re
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
GUEST = os.path.join(HERE, "..", "..", "guest")
sys.path[:0] = [HERE, GUEST]
import guestlib  # noqa: E402
import vm  # noqa: E402

AT_ONCE = 2
# Not under QEMU, and why.
NOT_IN_TCG = {
    "hardware": "states what the processor manuals say where QEMU's TCG does something else",
    "tlb-random2": "its vCPUs take turns at every step, on the one processor of this machine: minutes (mmu-views2 and "
                   "user-tlb2 are there)",
    "table-lives2": "one vCPU waits for each look of the other's, 24,000 times, on the one processor of this machine: minutes",
}


def own_kvm(pvvirt):
    out = subprocess.run([pvvirt, "host"], capture_output=True, text=True, check=False).stdout
    return any(line.split()[:2] == ["kvm", "available"] for line in out.splitlines())


class Run:
    """Where the tests run: how to call pvvirt, and with what environment."""

    def __init__(self, build, files, programs=(), memory=1024, icount=False):
        self.pvvirt, self.vm = os.path.join(build, "pvvirt"), None
        self.env = {**os.environ, "PVV_TEST_EXECUTOR": "kvm"}
        if own_kvm(self.pvvirt):
            return
        self.vm = vm.Vm(build, programs=programs, files=files, memory=memory, icount=icount)
        self.env.update(PVV_VM=self.vm.path, PVV_VM_PROGRAM=self.pvvirt, PVV_VM_HAS=":".join([*files, *programs]),
                        PVV_TEST_SLOW="10")
        self.pvvirt = os.path.join(HERE, "remote.py")

    def close(self):
        if self.vm:
            self.vm.close()


def guests(build, part, parts):
    # Those that another test drives are that test's business.
    names = [words[0] for words in guestlib.read_table() if "driven" not in words][part::parts]
    files, images = [], {g.name: g for g in guestlib.load(build, names)}
    for g in images.values():
        image = guestlib.grub() if g.image == "grub" else g.image
        if image:
            files.append(image)
    run = Run(build, files)

    def one(name):
        if run.vm and name in NOT_IN_TCG:
            return 77, "skipped: " + NOT_IN_TCG[name]
        r = subprocess.run([sys.executable, os.path.join(GUEST, "run.py"), run.pvvirt, build, name],
                           env=run.env, capture_output=True, text=True, errors="replace", check=False)
        return r.returncode, r.stdout + r.stderr

    try:
        # Guests with many vCPUs that wait for each other starve on the machine's one processor beside another.
        single, many = [n for n in names if not n.startswith("smp")], [n for n in names if n.startswith("smp")]
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            yield from zip(single, pool.map(one, single))
        for name in many:
            yield name, one(name)
    finally:
        run.close()


def unittests(build, module):
    """A module of unittest whose tests take the environment of Run: one process each."""
    __import__(module)
    m = sys.modules[module]
    names = m.names()
    run = Run(build, m.files(build), m.programs(build), icount=getattr(m, "ICOUNT", False))
    try:
        for name in names:
            r = subprocess.run([sys.executable, "-m", "unittest", "-v", module + "." + name], cwd=HERE,
                               env={**run.env, "PVV_PVVIRT": run.pvvirt, "PVV_BUILD": build,
                                    "PVV_IN_TCG": "1" if run.vm else ""},
                               capture_output=True, text=True, errors="replace", check=False)
            text = r.stdout + r.stderr
            skipped = [line for line in text.splitlines() if "skipped" in line]
            yield name, ((77, skipped[0]) if skipped and r.returncode == 0 else (r.returncode, text))
    finally:
        run.close()


# Tests of the ring3 executor, the files as they are: [file, tests or none for all, settings].
SAME = {
    "grub": [["system/grub.py", [], {"PVV_TEST_FILE_MB": "2"}],
             ["linux/grub.py", [], {}]],
    "shell": [["linux/shell.py", ["Shell.test_a_session", "Shell.test_a_disk"], {"PVV_TEST_KERNELS": "cloud"}]],
    # Not those on ring3's pages in a program's address space, of which there are none here and each costs TCG half a minute.
    "attacks": [["linux/hostile.py", [], {"PVV_TEST_KERNELS": "cloud", "PVV_TEST_HOSTILE":
                                          "reads,stacks,signal-stacks,through-the-kernel,random-instructions"}]],
    # Kernels' logs beside Xen's, and ends; of boot.py what executors could differ in. (All of it takes minutes here.)
    "boot": [["linux/transcript.py", [], {}],
             ["linux/boot.py", ["Boot.test_panic_is_a_crash", "Boot.test_reboot"], {"PVV_TEST_KERNELS": "cloud"}]],
    # Without "sites", which is about ring3's rewriting of system calls, and takes minutes here.
    "conform": [["linux/conform.py", [], {"PVV_TEST_KERNELS": "cloud", "PVV_TEST_CONFORM":
                                          "signal,fault,fpu,memory,thread,process,ptrace,cpu"}]],
    "remap": [["linux/remap.py", ["Remap.test_two_vcpus", "Remap.test_four_vcpus"],
               {"PVV_TEST_KERNELS": "cloud", "PVV_TEST_SECONDS": "3"}]],
    "crash": [["linux/crash.py", [], {"PVV_TEST_KERNELS": "cloud", "PVV_TEST_ROUNDS": "1"}]],
    "devices": [["system/linux_resources.py", [], {}],
                ["system/linux_net.py", [], {"PVV_TEST_MB": "2"}]],
}


def same(build, group):
    kernels = [os.path.join(vm.cache(), "vmlinuz-" + k) for k in ("cloud", "amd64")]
    run = Run(build, [f for f in [guestlib.grub(), *kernels] if f and os.path.exists(f)])
    tests = os.path.join(vm.TOP, "tests")
    if run.vm:
        run.env["PVV_TEST_DIFFERS"] = os.path.join(HERE, "dmesg.differs")
    try:
        for name, only, settings in SAME[group]:
            r = subprocess.run([sys.executable, os.path.join(tests, name), *only],
                               env={**run.env, "PVV_PVVIRT": run.pvvirt, "PVV_SOURCE_ROOT": vm.TOP,
                                    "PVV_LINUX": os.path.join(build, "tests", "linux"), **settings},
                               stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False)
            text = r.stdout + r.stderr
            for m in re.finditer(r"^(test_\w+) \(.*\)(?:\n.*)? \.\.\. (ok|FAIL|ERROR|skipped .*)$", r.stderr, re.M):
                status = 77 if m.group(2).startswith("skip") else m.group(2) != "ok"
                yield name + "." + m.group(1), (status, m.group(2) if status == 77 else text)
            yield name + " ends well", (r.returncode, text)
            # What they say they leave out is no secret.
            for line in text.splitlines():
                if line.startswith(("not ", "user networking is not")):
                    print("# " + line, flush=True)
    finally:
        run.close()


# This attack ends QEMU itself (see hostile/image.c), and the emulated machine with it: it has one of its own.
ALONE_IN_TCG = "debug-registers"


def attack(build, *filters):
    """(exit status, output) of the program with the attacks; None where the emulated machine ended in the middle."""
    program = os.path.join(build, "tests", "system", "kvm", "hostile", "test_kvm_hostile")
    guest = os.path.join(build, "tests", "guest")
    run = Run(build, [os.path.join(guest, "hello.elf")], [program])
    try:
        env = {k: v for k, v in run.env.items() if k != "PVV_VM_PROGRAM"}
        # AddressSanitizer's end of a thread takes the frames that pthread_cancel() left for its own stack, otherwise.
        settings = ["PVV_TEST_GUESTS=" + guest, "ASAN_OPTIONS=use_sigaltstack=0"]
        settings += ["PVV_TEST_SLOW=" + os.environ.get("PVV_TEST_SLOW", "3")] if run.vm else []
        r = subprocess.run([run.pvvirt if run.vm else "env", *settings, program, *filters], env=env,
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False)
        text = r.stdout + r.stderr
        if run.vm and "the virtual machine is gone" in text:
            # By the signal of its own bug: had the kernel in it panicked, it would have ended by itself.
            end = run.vm.qemu.wait(20)
            return (None if end == -signal.SIGSEGV else 1), "%sQEMU's status: %d\n%s" % (
                text, end, run.vm.console()[-2000:]), True
        return r.returncode, text, bool(run.vm)
    finally:
        run.close()


def hostile(build):
    """One test for each attack. (In a build with AddressSanitizer the host program is checked by that, too.)"""
    code, text, in_tcg = attack(build, "*", ALONE_IN_TCG)
    seen = 0
    for part in text.split("[ RUN      ] ")[1:]:
        seen += 1
        yield part.split()[0], (0 if "[       OK ]" in part else 1, part)
    yield "the program ends well", (0 if code == 0 and seen > 25 else 1, text)
    code, text, _ = attack(build, ALONE_IN_TCG)
    if code is None and in_tcg:
        yield ALONE_IN_TCG, (77, "skipped: QEMU's TCG itself took a SIGSEGV under watchpoints (its bug, see "
                             "hostile/image.c; code-breakpoints is the rest of it); hardware is needed")
    else:
        yield ALONE_IN_TCG, (0 if code == 0 and "[       OK ]" in text else 1, text)


def main():
    build, group = os.path.abspath(sys.argv[1]), sys.argv[2]
    if group.startswith("guests-"):
        part, parts = group.split("-")[1:]
        tests = guests(build, int(part) - 1, int(parts))
    elif group == "hostile":
        tests = hostile(build)
    elif group in SAME:
        tests = same(build, group)
    else:
        tests = unittests(build, group)
    n = failed = 0
    try:
        for name, (status, text) in tests:
            n += 1
            if status == 77:
                why = [line for line in text.splitlines() if "skip" in line]
                print("ok %d - %s # SKIP %s" % (n, name, why[-1] if why else ""), flush=True)
            else:
                print("%s %d - %s" % ("not ok" if status else "ok", n, name), flush=True)
            if status not in (0, 77):
                failed += 1
                print("".join("# %s\n" % line for line in text.splitlines()), end="", flush=True)
    except vm.Missing as e:
        print("1..0 # SKIP skipped: %s" % e)
        return 0
    print("1..%d" % n)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
