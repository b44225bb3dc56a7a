#!/bin/bash
# SPDX-License-Identifier: MIT
# What tests/bench/work runs in each system: programs that keep a kernel busy. As process 1 or in a chroot.
# One line a row: `work: ROW SECONDS`, the best of three; the machine is turned off at the end if we are process 1.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C GIT_CONFIG_NOSYSTEM=1
if [ $$ = 1 ]; then
	mountpoint -q /proc || mount -t proc proc /proc
	[ -e /dev/null ] || mount -t devtmpfs dev /dev
	mount -o remount,rw / 2>/dev/null
fi
trap 'echo "work: done"; [ $$ != 1 ] || { sync; echo o >/proc/sysrq-trigger; sleep 60; }' EXIT
work=/var/tmp/work
rm -rf $work; mkdir -p $work; cd $work || exit 1

row() { # NAME COMMAND: a run to warm up, then the best of three
	local name=$1 best= start end us
	shift
	"$@" || { echo "work: error: $name"; exit 1; }
	for _ in 1 2 3; do
		start=$EPOCHREALTIME
		"$@" || { echo "work: error: $name"; exit 1; }
		end=$EPOCHREALTIME
		us=$((${end/./} - ${start/./}))
		[ -n "$best" ] && [ "$best" -le $us ] || best=$us
	done
	printf 'work: %s %d.%06d\n' "$name" $((best / 1000000)) $((best % 1000000))
}

do_find() { find / -xdev -printf '%s %u %p\n' >found; }
do_tar() { rm -rf t; mkdir t; tar -C /usr -cf - include lib/python3 | tar -C t -xf -; }
do_cc() { for f in /bench/*.i; do gcc -w -O1 -c -o o.o "$f" || return 1; done; }
do_sqlite() {
	rm -f db
	{
		echo 'pragma synchronous=off; create table t(a integer primary key, b text);'
		for ((i = 0; i < 2000; i++)); do echo "insert into t(b) values('row $i');"; done
		echo 'select count(*) from t;'
	} | sqlite3 db | grep -qx 2000
}
do_status() { for _ in 1 2 3 4 5 6 7 8 9 10; do git -C repo status --porcelain >s || return 1; [ ! -s s ] || return 1; done; }

row find do_find
row tar do_tar
row cc do_cc
row sqlite do_sqlite
mkdir repo && cp -r /usr/include /usr/lib/python3 repo/ &&
	git -C repo init -q && git -C repo add . && git -C repo -c user.name=n -c user.email=e@x commit -qm one ||
	{ echo "work: error: git"; exit 1; }
row git_status do_status
