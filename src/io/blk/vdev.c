/* SPDX-License-Identifier: MIT */
/*
 * Names of virtual disks and their numbers, by Xen's vbd interface: the number encodes the device
 * the guest shall see, in the way of Linux' old major and minor numbers.
 *
 *	xvd	202 << 8 | disk << 4 | partition	disk, partition < 16
 *		1 << 28 | disk << 8 | partition		others
 *	sd	8 << 8 | disk << 4 | partition		disk, partition < 16
 *	hd	3 << 8 | disk << 6 | partition		disk 0, 1; partition < 64
 *		22 << 8 | (disk - 2) << 6 | partition	disk 2, 3
 */
#include "io/blk/blk.h"

#include <stdio.h>
#include <string.h>

#include "util/err.h"

#define MAJOR_XVD 202u
#define MAJOR_SD  8u
#define MAJOR_HD0 3u
#define MAJOR_HD1 22u

#define EXTENDED      (1u << 28)
#define EXTENDED_DISK 0xfffffu
#define EXTENDED_PART 0xffu

static int bad(const char *name, const char *why)
{
	return err_set(
		PVV_EINVAL, PVV_SUBSYS_BLOCK, name,
		"'%s' is not the name of a virtual disk: %s (names look like 'xvda', 'xvdb1', "
		"'sda' or '51712')",
		name, why);
}

/* The letters: a = 0, z = 25, aa = 26. Moves *p on; false if there are none or too many. */
static bool parse_disk(const char **p, uint32_t *ret)
{
	uint64_t n = 0;
	const char *s = *p;

	for (; *s >= 'a' && *s <= 'z'; s++) {
		n = n * 26 + (uint64_t)(*s - 'a') + 1;
		if (n > EXTENDED_DISK + 1u)
			return false;
	}
	if (s == *p)
		return false;
	*p = s;
	*ret = (uint32_t)(n - 1);
	return true;
}

/* The partition: nothing = 0, the whole disk; no leading zero. */
static bool parse_part(const char *s, uint32_t *ret)
{
	uint32_t n = 0;

	if (*s == '0')
		return false;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return false;
		n = n * 10 + (uint32_t)(*s - '0');
		if (n > EXTENDED_PART)
			return false;
	}
	*ret = n;
	return true;
}

static int parse_number(const char *name, uint32_t *ret_vdev)
{
	uint64_t n = 0;
	bool hex = name[0] == '0' && (name[1] == 'x' || name[1] == 'X');
	const char *s = hex ? name + 2 : name;

	if (!*s)
		return bad(name, "there are no digits");
	for (; *s; s++) {
		uint32_t digit;

		if (*s >= '0' && *s <= '9')
			digit = (uint32_t)(*s - '0');
		else if (hex && (*s | 0x20) >= 'a' && (*s | 0x20) <= 'f')
			digit = (uint32_t)((*s | 0x20) - 'a') + 10;
		else
			return bad(name, "it is a number with other characters in it");
		n = n * (hex ? 16 : 10) + digit;
		/* Front ends take the number for a signed one. */
		if (n > INT32_MAX)
			return bad(name, "the number is too large");
	}
	*ret_vdev = (uint32_t)n;
	return PVV_OK;
}

int blk_vdev_parse(const char *name, uint32_t *ret_vdev)
{
	uint32_t disk, part;

	if (!name || !*name)
		return bad("", "it is empty");
	if (strlen(name) >= BLK_VDEV_NAME_MAX)
		return bad(name, "it is too long");
	if (*name >= '0' && *name <= '9')
		return parse_number(name, ret_vdev);

	bool xvd = !strncmp(name, "xvd", 3);
	bool sd = !strncmp(name, "sd", 2);
	bool hd = !strncmp(name, "hd", 2);
	if (!xvd && !sd && !hd)
		return bad(name, "it begins with none of xvd, sd and hd");
	const char *p = name + (xvd ? 3 : 2);
	if (!parse_disk(&p, &disk))
		return bad(name, "the letters of the disk are missing or too many");
	if (!parse_part(p, &part))
		return bad(name, "the partition is not a number from 1 to 255");

	if (xvd && disk < 16 && part < 16)
		*ret_vdev = MAJOR_XVD << 8 | disk << 4 | part;
	else if (xvd)
		*ret_vdev = EXTENDED | disk << 8 | part;
	else if (sd && disk < 16 && part < 16)
		*ret_vdev = MAJOR_SD << 8 | disk << 4 | part;
	else if (hd && disk < 4 && part < 64)
		*ret_vdev = (disk < 2 ? MAJOR_HD0 : MAJOR_HD1) << 8 | (disk & 1) << 6 | part;
	else
		return bad(name, "there is no such number; use an 'xvd' name");
	return PVV_OK;
}

static void print_name(char *buf, const char *prefix, uint32_t disk, uint32_t part)
{
	char letters[8];
	size_t i = sizeof(letters) - 1;

	letters[i] = '\0';
	for (uint32_t n = disk + 1; n; n = (n - 1) / 26)
		letters[--i] = (char)('a' + (n - 1) % 26);
	if (part)
		snprintf(buf, BLK_VDEV_NAME_MAX, "%s%s%u", prefix, letters + i, part);
	else
		snprintf(buf, BLK_VDEV_NAME_MAX, "%s%s", prefix, letters + i);
}

void blk_vdev_name(uint32_t vdev, char buf[static BLK_VDEV_NAME_MAX])
{
	uint32_t major = vdev >> 8, minor = vdev & 0xff;

	if (vdev >> 28 == 1)
		print_name(buf, "xvd", vdev >> 8 & EXTENDED_DISK, vdev & EXTENDED_PART);
	else if (major == MAJOR_XVD)
		print_name(buf, "xvd", minor >> 4, minor & 15);
	else if (major == MAJOR_SD)
		print_name(buf, "sd", minor >> 4, minor & 15);
	else if ((major == MAJOR_HD0 || major == MAJOR_HD1) && minor < 128)
		print_name(buf, "hd", minor >> 6 | (major == MAJOR_HD1 ? 2 : 0), minor & 63);
	else
		snprintf(buf, BLK_VDEV_NAME_MAX, "%u", vdev);
}
