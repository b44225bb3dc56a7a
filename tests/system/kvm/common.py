# SPDX-License-Identifier: MIT
"""What the unittest modules of suite.py share. The environment says where pvvirt runs, see suite.py."""
import os
import re
import subprocess

BUILD = os.environ.get("PVV_BUILD", "")
SLOW = int(os.environ.get("PVV_TEST_SLOW", "1"))
IN_TCG = bool(os.environ.get("PVV_IN_TCG"))


def names(case):
    """The tests of a class, as suite.py wants them."""
    return [case.__name__ + "." + n for n in sorted(dir(case)) if n.startswith("test_")]


def guest(name, build=None):
    return os.path.join(build or BUILD, "tests", "guest", name + ".elf")


def pvvirt(*args, seconds=20, pass_fds=()):
    return subprocess.run([os.environ["PVV_PVVIRT"], *args], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          errors="replace", timeout=(seconds + 20) * SLOW, check=False, pass_fds=pass_fds)


def run(kernel, *args, seconds=20, memory="64M", pass_fds=()):
    return pvvirt("run", "--kernel", kernel, "--memory", memory, "--executor", "kvm", "--console", "stdio", "--no-reboot",
                  "--timeout", str(seconds * SLOW), *args, seconds=seconds, pass_fds=pass_fds)


def program(*args, seconds=120):
    """Another program than pvvirt, where pvvirt runs; settings may be in front of it as with env(1)."""
    if not IN_TCG:
        args = ["env", *args]
        return subprocess.run(args, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds,
                              check=False)
    env = {k: v for k, v in os.environ.items() if k != "PVV_VM_PROGRAM"}
    return subprocess.run([os.environ["PVV_PVVIRT"], *args], env=env, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, errors="replace", timeout=seconds * SLOW, check=False)


def exits(stderr):
    """The counters of `pvvirt run --stats`."""
    m = re.search(r"VM exits +(\d+): (\d+) I/O, (\d+) halts, (\d+) host interrupts, (\d+) memory; (\d+) to the library",
                  stderr)
    if not m:
        raise AssertionError("no exits are counted in %r" % stderr)
    total, io, halt, interrupt, memory, user = map(int, m.groups())
    return {"total": total, "io": io, "halt": halt, "interrupt": interrupt, "memory": memory, "user": user,
            "guest": total - interrupt - memory}


# tests/system's C programs, with the kvm executor, which `auto` chooses where this runs. Of these, what is about
# something else:
NOT_HERE = {
    "test_killed_program": "is about the sandbox process, which only ring3 has",
    "one_dead_vcpu_ends_the_domain": "is about the sandbox's processes",
}


def cmocka(case, name, at_least):
    slow = ["PVV_TEST_SLOW=3", "PVV_TEST_CYCLES=30"] if IN_TCG else []
    r = program("PVV_TEST_GUESTS=" + os.path.join(BUILD, "tests", "guest"), "PVV_SOURCE_ROOT=/", *slow,
                os.path.join(BUILD, "tests", "system", "test_system_" + name))
    text = r.stdout + r.stderr
    passed = [line.split("]")[1].strip() for line in text.splitlines() if line.startswith("[       OK")]
    failed = [line.split("]")[1].strip() for line in text.splitlines() if re.match(r"\[  FAILED  \] [a-z]", line)]
    case.assertGreaterEqual(len(passed), at_least, text)
    case.assertEqual(set(failed) - set(NOT_HERE), set(), text)
