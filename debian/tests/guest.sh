# SPDX-License-Identifier: MIT
# A guest for the tests: Debian's PV GRUB, with a configuration that says something and powers off.
cd "$AUTOPKGTEST_TMP"
cat >grub.cfg <<'CFG'
echo booted by an installed library
halt
CFG
grub-mkimage -O x86_64-xen -o guest.bin -c grub.cfg -p / echo halt normal
