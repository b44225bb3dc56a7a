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
flags="-std=gnu11 -ffreestanding -fno-pic -no-pie -fno-stack-protector -mno-red-zone
	-fno-asynchronous-unwind-tables -fcf-protection=none -nostdlib -static -w"
# Compiled one by one, so that ccache knows them (the larger one takes ten seconds).
sources= objects= more=
for word; do
	case $word in
	*.c) sources="$sources $word" ;;
	*) more="$more $word" ;;
	esac
done
for source in $sources; do
	object=$out.$(basename "$source").o
	$cc $flags $more -c -o "$object" "$source"
	objects="$objects $object"
done
$cc $flags $more $objects -Wl,--defsym=BASE="$base" -Wl,-T,"$script" -Wl,--build-id=none \
	-Wl,--no-warn-rwx-segments -Wl,-e,kernel_entry -o "$out.elf"
objcopy -O binary "$out.elf" "$out"
