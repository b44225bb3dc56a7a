#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Host a guest: boot a PV kernel, show its console, say how it ended.

    python3 hello.py [KERNEL]
"""
import sys

import pvvirt

kernel = sys.argv[1] if len(sys.argv) > 1 else "/usr/lib/grub-xen/grub-x86_64-xen.bin"

try:
    # Leaving the block ends the guest, if it has not ended by itself.
    with pvvirt.Host() as host, host.create(name="hello", kernel=kernel, memory=64 * pvvirt.MiB) as domain:
        console = domain.open_console()  # before the start, to miss nothing
        domain.start()  # returns at once
        while data := console.read(4096):  # ends with the guest
            sys.stdout.buffer.write(data)
            sys.stdout.flush()
        status = domain.join()
except pvvirt.Error as error:  # its text says what was wrong and what to do
    sys.exit(f"hello: {error}")

print("powered off" if status.powered_off else f"did not power off: {status}")
sys.exit(0 if status.powered_off else 1)
