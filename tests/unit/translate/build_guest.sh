#!/bin/sh
# SPDX-License-Identifier: MIT
# build_guest.sh OUTPUT LINKER_SCRIPT COMPILER... -- BASE SOURCES... FLAGS...
# A freestanding program as a flat image at a fixed address.
set -e
out=$1 script=$2
shift 2
cc=
while [ "$1" != -- ]; do
	cc="$cc $1"
	shift
done
base=$2
shift 2
$cc -std=gnu11 -ffreestanding -fno-pic -no-pie -fno-stack-protector -mno-red-zone \
	-fno-asynchronous-unwind-tables -fcf-protection=none -nostdlib -static -w "$@" \
	-Wl,--defsym=BASE="$base" -Wl,-T,"$script" -Wl,--build-id=none -Wl,--no-warn-rwx-segments \
	-Wl,-e,kernel_entry -o "$out.elf"
objcopy -O binary "$out.elf" "$out"
